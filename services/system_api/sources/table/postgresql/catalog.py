"""Reads the shape of a table from the catalog and checks the settings against it."""

import logging
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Any, Protocol

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql import definitions
from services.system_api.sources.table.postgresql.shape import (
    NUMBERS,
    PUBLISHED,
    Key,
    Sequence,
    Shape,
    order_error,
    order_type,
)
from services.system_api.sources.table.sql import (
    check_columns,
    check_unique,
    check_view,
    quoted_table,
    suggest_index,
    unit_error,
)
from shared.errors import SettingsError

logger = logging.getLogger(__name__)

_TABLES = ("r", "p")
_OUT_OF_ORDER = {"m": "a materialized view", "f": "a foreign table"}
"""Relations whose rows appear on a refresh or on another server's commit, of which open transactions say nothing."""


class _ColumnFacts(Protocol):
    """What is known of a column, by name."""

    def __getitem__(self, name: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Relation:
    """What the catalog has of a table or view."""

    name: str
    """Quoted, with its schema."""
    kind: str
    columns: dict[str, asyncpg.Record]
    beneath: "_Relation | None"
    """The table or view of which this view shows the rows, each once; None if it is unknown."""
    unique: Several[list[str]]
    """The columns of each unique index."""
    filtered: bool
    """Whether it is a view, or shows one, of only some of the rows."""

    @property
    def table(self) -> "_Relation":
        """The relation that stores the rows, as far as it is known."""
        return self if self.beneath is None else self.beneath.table

    def stored(self, column: str) -> asyncpg.Record | None:
        """Return the column of the table that this column of a view shows; it has the same name."""
        if self.beneath is None:
            return self.columns.get(column)
        shown = self.columns.get(column)
        return self.beneath.stored(column) if shown is not None and shown["updatable"] else None


async def shape_of(connection: asyncpg.Connection, options: TableSourceOptions, *, standby: bool) -> Shape:
    """Return the shape of the table.

    Raises:
        SettingsError: the table cannot be read with these settings; the text names setting, table and column.
    """
    table = options.table
    oid = await connection.fetchval("SELECT to_regclass($1)::oid", quoted_table(table))
    if oid is None:
        raise SettingsError(f"table: there is no table {table!r}, or the account may not see it")
    relation = await _relation(connection, oid)
    columns = relation.columns
    if options.ordered:
        _check_exactness(options, relation, standby=standby)
    elif options.mode == "outbox":
        _check_writable(options, relation, standby=standby)
    check_columns(options.described, options.named_columns, list(columns))
    orders = [columns[name] for name in options.order_columns]
    type_ = order_type_of(options, orders) if options.ordered else options.mode
    by_key = options.updated_at_column is None and options.ordered
    sequence = _sequence(options, relation) if by_key else None
    shape = Shape(
        table=table,
        relation=relation.name,
        keys=tuple(Key(name, columns[name]["cast"], columns[name]["beneath"]) for name in options.keys),
        times=options.times,
        order_type=type_,
        time_zone=options.time_zone,
        subject=options.subject,
        published=options.published_column,
        published_type=None if options.published_column is None else columns[options.published_column]["type"],
        columns=options.columns,
        sequence=sequence,
        nullable=tuple(name for name in options.keys if not columns[name]["filled"]),
        versioned=relation.kind in _TABLES,
        timeless=bool(options.times) and not any(order["filled"] for order in orders),
        time_unit=options.time_unit,
    )
    _check_key(options, relation, sequence)
    leads = orders[0]["leads"] if len(orders) == 1 else await _leads(connection, shape, oid)
    if relation.kind in _TABLES and not leads:
        suggest_index(table, options.order_columns, options.keys)
    return shape


async def _relation(connection: asyncpg.Connection, oid: int) -> _Relation:
    found = await connection.fetch(definitions.COLUMNS, oid)
    kind, name = found[0]["kind"], found[0]["relation"]
    beneath = await connection.fetchval(definitions.BENEATH, oid) if kind == "v" else None
    shown = None if beneath is None else await _relation(connection, beneath)
    filtered = kind == "v" and bool(await connection.fetchval(definitions.FILTERED, oid))
    return _Relation(
        name,
        kind,
        {row["name"]: row for row in found},
        shown,
        [row[0] for row in await connection.fetch(definitions.UNIQUE, oid)],
        filtered or (shown is not None and shown.filtered),
    )


def _check_exactness(options: TableSourceOptions, relation: _Relation, *, standby: bool) -> None:
    if options.updated_at_column is not None and options.overlap > 0:
        return
    if standby:
        raise SettingsError(
            "url: this server is a standby, which does not list the open transactions of its primary:"
            " set the primary, or set `updated_at_column` and `overlap`"
        )
    kind = relation.table.kind
    if kind in _OUT_OF_ORDER:
        raise SettingsError(
            f"table: {options.table} {'is' if relation.kind == kind else 'shows'} {_OUT_OF_ORDER[kind]}, whose rows"
            " appear in any order: set the table that it reads, or set `updated_at_column` and `overlap`"
        )
    if options.updated_at_column is not None:
        check_view(options.table, selection=kind in _TABLES)
    elif relation.filtered and options.overlap == 0:
        raise SettingsError(
            f"key: {options.table} is a view with a condition: a row that fulfils it later appears below rows that were"
            " read; set the table, `updated_at_column`, or `mode: diff`, or set `overlap` to the seconds after its"
            " insert in which a row appears at most"
        )


def _check_writable(options: TableSourceOptions, relation: _Relation, *, standby: bool) -> None:
    if standby:
        raise SettingsError("url: this server is a standby, where published rows cannot be removed: set the primary")
    if relation.kind not in _TABLES:
        raise SettingsError(f"table: {options.table} is not a table; an outbox is one, from which rows are removed")
    column = options.published_column
    if column is not None and column in relation.columns and relation.columns[column]["type"] not in PUBLISHED:
        raise SettingsError(
            f"published_column: table {options.table}: column {column!r} is {relation.columns[column]['type']};"
            f" expected {', '.join(PUBLISHED)}"
        )


async def _leads(connection: asyncpg.Connection, shape: Shape, oid: int) -> bool:
    """Return whether an index begins with the expression that rows are ordered by."""
    expressions = [row[0] for row in await connection.fetch(definitions.EXPRESSIONS, oid)]
    wanted = shape.order.replace("t.", "").replace('"', "").lower()
    return any(found.replace('"', "").lower() == wanted for found in expressions if found)


def order_type_of(options: TableSourceOptions, orders: Several[_ColumnFacts]) -> str:
    """Return the type of the columns that rows are ordered by; each has `name`, `type` and `beneath`.

    Raises:
        SettingsError: rows cannot be ordered by them with these settings.
    """
    found = [_type_of_one(options, order) for order in orders]
    if len(set(found)) > 1:
        types = ", ".join(f"{order['name']!r} is {order['type']}" for order in orders)
        raise SettingsError(
            f"updated_at_column: {options.described}: {types}; expected columns of one type, whose values compare"
        )
    return found[0]


def _type_of_one(options: TableSourceOptions, order: _ColumnFacts) -> str:
    by_time = options.updated_at_column is not None
    # A key may be of a domain: its base type counts.
    given = order["type"] if by_time else order["beneath"]
    type_ = order_type(given, by_time=by_time)
    setting = "updated_at_column" if by_time else "key"
    if type_ is None:
        error = order_error(order["name"], given, by_time=by_time)
        raise SettingsError(f"{setting}: {options.described}: {error}")
    if type_ == "timestamp" and options.time_zone is None:
        raise SettingsError(
            f"time_zone: {options.described}: column {order['name']!r} has no time zone;"
            " set `time_zone` to the zone of the applications that write it, such as UTC or Europe/Berlin"
        )
    if by_time and (type_ in NUMBERS) != (options.time_unit is not None):
        raise SettingsError(unit_error(options.described, order["name"], given, number=type_ in NUMBERS))
    return type_


def _sequence(options: TableSourceOptions, relation: _Relation) -> Sequence | None:
    """Return the sequence of the key.

    Raises:
        SettingsError: there is none, or keys from it do not grow with time.
    """
    table, (name,) = options.table, options.keys
    key = relation.stored(name)
    if key is None or key["sequence"] is None:
        if options.overlap > 0:
            return None
        what = f"column {name!r}" if key is not None else f"column {name!r} of this view"
        raise SettingsError(
            f"key: table {table}: no sequence is known to give the values of {what}, so a lower one may appear after a"
            " higher one: set `updated_at_column`, or `mode: diff` for a small table, or set `overlap` to the seconds"
            " between an application making a key and committing its row, if keys grow with time"
        )
    sequence = key["sequence"]
    if key["cache"] > 1:
        raise SettingsError(
            f"key: table {table}: each session caches {key['cache']} keys, so keys do not grow with time:"
            f" ALTER SEQUENCE {sequence} CACHE 1 and reconnect those sessions, or set `updated_at_column`"
        )
    if key["increment"] != 1 or key["cycle"]:
        # Libraries with an increment of 50 assign the numbers in between themselves, later.
        raise SettingsError(
            f"key: table {table}: keys do not grow one by one, or applications allocate them in advance: ALTER SEQUENCE"
            f" {sequence} INCREMENT 1 NO CYCLE if nothing relies on its increment, or set `updated_at_column`"
        )
    return Sequence(key["sequence_oid"], sequence, key["readable"])


def _check_key(options: TableSourceOptions, relation: _Relation, sequence: Sequence | None) -> None:
    """Check that the key tells rows apart, as far as the catalog knows."""
    table = relation.table
    keys = [relation.stored(name) for name in options.keys]
    extra = {"component": "source", "table": options.table, "column": ", ".join(options.keys)}
    if table.kind not in _TABLES or None in keys:
        logger.info("cannot check that the key is unique; a second row with the same key is missed", extra=extra)
        return
    try:
        check_unique(options.table, options.keys, table.unique)
    except SettingsError:
        if sequence is None:
            raise
        logger.warning("no unique index on the key column; a second row with the same key may be missed", extra=extra)
