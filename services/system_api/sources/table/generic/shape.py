"""What is known of a table: its columns, and whether it can be read as the settings say."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import types

from services.system_api.sources.table.generic.dialects import Dialect, TimeKind
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sql import check_columns, check_unique
from shared.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Found:
    """What a database tells of a table."""

    columns: Sequence[tuple[str, types.TypeEngine[Any]]]
    """Names and types."""
    unique: Sequence[Collection[str]]
    """The columns of each unique index, the primary key first."""
    view: bool


@dataclass(frozen=True, slots=True)
class GenericShape:
    """How a table is read."""

    keys: tuple[str, ...]
    numbers: tuple[bool, ...]
    """Which columns of the key are numbers."""
    times: tuple[str, ...]
    time_kind: TimeKind | None
    """None: it is read by its key."""
    subject: str | None
    columns: tuple[str, ...]
    """What becomes the data."""
    mode: str
    """For the checkpoint."""


def shape_of(found: Found, options: TableSourceOptions, dialect: Dialect) -> GenericShape:
    """Return how a table is read.

    Raises:
        SettingsError: it cannot be read as the settings say.
    """
    types_of = dict(found.columns)
    check_columns(options.described, options.named_columns, list(types_of))
    if not found.view:
        check_unique(options.table, options.keys, found.unique)
    for column in options.keys:
        if not _is_key(types_of[column]):
            raise SettingsError(
                f"key: {options.described}: column {column!r} is {types_of[column]!r}; expected an integer or a text"
            )
    kinds = {column: dialect.time_kind(types_of[column]) for column in options.times}
    for column, kind in kinds.items():
        if kind is None:
            raise SettingsError(
                f"updated_at_column: {options.described}: column {column!r} is {types_of[column]!r}; expected"
                f" {dialect.times}"
            )
    if len(set(kinds.values())) > 1:
        raise SettingsError(f"updated_at_column: {options.described}: the columns have several types; expected one")
    kind = next(iter(kinds.values()), None)
    _check_zone(kind, options)
    if not options.times and not _is_integer(types_of[options.keys[0]]):
        raise SettingsError(
            f"key: {options.described}: column {options.keys[0]!r} is {types_of[options.keys[0]]!r}, in whose order"
            " rows do not grow; expected an integer, or set `updated_at_column`"
        )
    return GenericShape(
        keys=options.keys,
        numbers=tuple(_is_number(types_of[column]) for column in options.keys),
        times=options.times,
        time_kind=kind,
        subject=options.subject,
        columns=options.columns or tuple(types_of),
        mode=f"{'time' if options.times else 'key'}:{','.join(options.order_columns)}:{','.join(options.keys)}",
    )


def _check_zone(kind: TimeKind | None, options: TableSourceOptions) -> None:
    if kind in {"local", "seconds"} and options.time_zone is None:
        raise SettingsError(
            f"time_zone: {options.described}: column {options.times[0]!r} has no time zone; set the one that its times"
            " are in, such as UTC or Europe/Berlin"
        )
    if kind in {"zoned", None} and options.time_zone is not None:
        raise SettingsError(f"time_zone: {options.described}: no column needs it; remove it")


def _is_integer(type_: types.TypeEngine[Any]) -> bool:
    # Oracle's NUMBER is both for SQLAlchemy.
    return type_.scale == 0 if isinstance(type_, types.Numeric) else isinstance(type_, types.Integer)


def _is_number(type_: types.TypeEngine[Any]) -> bool:
    return isinstance(type_, types.Integer | types.Numeric) and not isinstance(type_, types.Float)


def _is_key(type_: types.TypeEngine[Any]) -> bool:
    return _is_number(type_) or isinstance(type_, types.String | types.Uuid)
