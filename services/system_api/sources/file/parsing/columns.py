"""Named fields of text as JSON: one object a row, whose members are the columns. No I/O."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from services.system_api.sources.file.parsing.parser import Row
from shared.errors import Malformed
from shared.events import strict_json
from shared.events.strict_json import DATA_LEVELS

_Time = Annotated[datetime, msgspec.Meta(tz=True)]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SURELY_FINITE = 4
"""Characters of a number that no exponent makes infinite: `1e99`."""
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_SHOWN = 80

_json_text = msgspec.json.Encoder().encode

Value = str | bool | msgspec.Raw | None


class ColumnType(StrEnum):
    """The JSON type of a column. An empty field is the empty string for `string`, and null for the others."""

    STRING = "string"
    INTEGER = "integer"
    """An integer of any size, with all its digits."""
    NUMBER = "number"
    """A number as JSON writes it, with all its digits."""
    BOOLEAN = "boolean"
    """`true`, `false`, `1` or `0`, upper or lower case."""
    JSON = "json"
    """Any JSON value, unchanged."""


class RowBuilder:
    """Makes rows of fields that are in the order of the columns."""

    def __init__(
        self,
        columns: Sequence[str],
        subject: str,
        time: str | None,
        types: Mapping[str, ColumnType],
        *,
        nulls: Collection[str] = (),
        decimal: str = ".",
    ) -> None:
        """`subject` and `time` name columns, `nulls` are texts that mean null, `decimal` is the decimal separator.

        Raises:
            Malformed: a column occurs twice, or one that is named is missing.
        """
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise Malformed(f"found column {twice[0]!r} twice; expected distinct names")
        wanted = [subject, *types, *([] if time is None else [time])]
        if missing := [name for name in wanted if name not in columns]:
            raise Malformed(f"column {missing[0]!r} is missing; found {', '.join(map(repr, columns))}"[:500])
        self.columns = columns
        self._subject = subject
        self._subject_at = columns.index(subject)
        self._time = time
        self._nulls = frozenset(nulls)
        converters = _converters(decimal)
        self._conversions = [(name, converters[kind]) for name, kind in types.items() if kind in converters]

    def row(self, fields: Sequence[str | None]) -> Row:
        """Return the row of these fields, as many as there are columns.

        Raises:
            Malformed: names the column.
        """
        if self._nulls:
            fields = [None if field in self._nulls else field for field in fields]
        subject = fields[self._subject_at]
        if not subject:
            raise Malformed(f"column {self._subject!r}: the subject is empty")
        values: dict[str, Value] = dict(zip(self.columns, fields, strict=True))
        time = None if self._time is None else _time(values[self._time], self._time)
        for name, convert in self._conversions:
            text = values[name]
            try:
                values[name] = convert(text) if isinstance(text, str) and text else None
            except Malformed as exc:
                raise Malformed(f"column {name!r}: {exc}") from exc
        return subject, _json_text(values), time


_Convert = Callable[[str], Value]


def _converters(decimal: str) -> Mapping[ColumnType, _Convert]:
    """Return what converts texts that are not empty."""
    return {
        ColumnType.INTEGER: _matched(_INTEGER, "an integer"),
        ColumnType.NUMBER: _matched(_NUMBER, "a number") if decimal == "." else _decimal(decimal),
        ColumnType.BOOLEAN: _boolean,
        ColumnType.JSON: _json,
    }


def _matched(pattern: re.Pattern[str], what: str) -> _Convert:
    def convert(text: str) -> Value:
        if not pattern.fullmatch(text):
            raise Malformed(f"found {text[:_SHOWN]!r}; expected {what}")
        if len(text) > _SURELY_FINITE and not math.isfinite(float(text)):
            raise Malformed(f"found {text[:_SHOWN]!r}; expected {what} of at most 1.8e308, the range of a double")
        return msgspec.Raw(text)

    return convert


def _decimal(separator: str) -> _Convert:
    """Return what converts numbers with another decimal separator than a point; a point is an error then."""
    convert_number = _matched(_NUMBER, "a number")

    def convert(text: str) -> Value:
        try:
            return convert_number(text.replace(".", "?").replace(separator, "."))
        except Malformed as exc:
            raise Malformed(
                f"found {text[:_SHOWN]!r}; expected a number with {separator!r} before its fraction"
            ) from exc

    return convert


def _boolean(text: str) -> Value:
    if (value := _BOOLEANS.get(text.lower())) is None:
        raise Malformed(f"found {text[:_SHOWN]!r}; expected a boolean: true, false, 1 or 0")
    return value


def _json(text: str) -> Value:
    strict_json.check(text.encode(), DATA_LEVELS - 1)
    return msgspec.Raw(text)


def _time(text: Value, column: str) -> bytes | None:
    if not text:
        return None
    try:
        return _json_text(msgspec.convert(text, _Time))[1:-1]
    except msgspec.ValidationError as exc:
        raise Malformed(
            f"column {column!r}: found {str(text)[:_SHOWN]!r}; expected an RFC 3339 time with an offset"
        ) from exc
