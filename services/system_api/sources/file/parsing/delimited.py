"""CSV by RFC 4180, in UTF-8: each row becomes one JSON object whose members are the columns. No I/O.

Stricter than most readers, so that no wrong event is made of a broken row: a row with too few or too many fields, text
after a closing quote, and an empty subject are errors.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from services.system_api.sources.file.parsing.parser import Row
from services.system_api.sources.file.parsing.rows import RowCutter
from services.system_api.sources.file.parsing.splitter import Cut, cut_lines, never_suspicious
from shared.errors import Malformed
from shared.events import strict_json
from shared.events.strict_json import DATA_LEVELS

_Time = Annotated[datetime, msgspec.Meta(tz=True)]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SURELY_FINITE = 4
"""Characters of a number that no exponent makes infinite: `1e99`."""
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

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


def _matched(pattern: re.Pattern[str], what: str) -> Callable[[str], Value]:
    def convert(text: str) -> Value:
        if not text:
            return None
        if not pattern.fullmatch(text):
            raise Malformed(f"found {text[:80]!r}; expected {what}")
        if len(text) > _SURELY_FINITE and not math.isfinite(float(text)):
            raise Malformed(f"found {text[:80]!r}; expected {what} of at most 1.8e308, the range of a double")
        return msgspec.Raw(text)

    return convert


def _boolean(text: str) -> Value:
    if not text:
        return None
    if (value := _BOOLEANS.get(text.lower())) is None:
        raise Malformed(f"found {text[:80]!r}; expected a boolean: true, false, 1 or 0")
    return value


def _json(text: str) -> Value:
    if not text:
        return None
    strict_json.check(text.encode(), DATA_LEVELS - 1)
    return msgspec.Raw(text)


_CONVERTERS: Mapping[ColumnType, Callable[[str], Value]] = {
    ColumnType.INTEGER: _matched(_INTEGER, "an integer"),
    ColumnType.NUMBER: _matched(_NUMBER, "a number"),
    ColumnType.BOOLEAN: _boolean,
    ColumnType.JSON: _json,
}


class Csv:
    """Reads the rows of one file. A header names the columns, unless the settings do."""

    def __init__(
        self,
        subject: str,
        time: str | None,
        *,
        delimiter: str,
        quotes: bool,
        header: bool,
        columns: Sequence[str] | None,
        types: Mapping[str, ColumnType],
    ) -> None:
        """`subject` and `time` name columns. Without a header, `columns` is required."""
        known = len(columns) if columns is not None and not header else 0
        self.cut: Cut = RowCutter(delimiter.encode(), known) if quotes else cut_lines
        self.wants_header = header
        self._subject = subject
        self._time = time
        self._delimiter = delimiter
        self._field = _field_pattern(delimiter) if quotes else None
        self._types = types
        self._named = columns
        self._columns: Sequence[str] = ()
        self._subject_at = 0
        self._time_at: int | None = None
        self._conversions: list[tuple[int, Callable[[str], Value]]] = []
        if not header:
            assert columns is not None, "the options require it"
            self._use(columns)

    def header(self, piece: bytes) -> None:
        """Set the columns from the header."""
        fields = self._split(piece.decode())
        if self._named is not None and len(self._named) != len(fields):
            raise Malformed(f"found {len(fields)} columns; expected {len(self._named)}, as the settings name them")
        self._use(fields if self._named is None else self._named)
        self.wants_header = False

    suspicious = staticmethod(never_suspicious)
    """Text becomes JSON strings; numbers and JSON are checked where a column is converted."""

    def prepare(self, piece: bytes) -> bytes:
        """Return the row unchanged: a carriage return inside a field belongs to it."""
        return piece

    def read(self, piece: bytes) -> Row:
        """Read one row; see `Format`."""
        fields = self._split(piece.decode())
        if len(fields) != len(self._columns):
            raise Malformed(f"found {len(fields)} fields; expected {len(self._columns)}")
        subject = fields[self._subject_at]
        if not subject:
            raise Malformed(f"column {self._subject!r}: the subject is empty")
        time = None if self._time_at is None else _time(fields[self._time_at], self._columns[self._time_at])
        values: dict[str, Value] = dict(zip(self._columns, fields, strict=True))
        for index, convert in self._conversions:
            name = self._columns[index]
            try:
                values[name] = convert(fields[index])
            except Malformed as exc:
                raise Malformed(f"column {name!r}: {exc}") from exc
        return subject, _json_text(values), time

    def _use(self, columns: Sequence[str]) -> None:
        if twice := sorted({name for name in columns if columns.count(name) > 1}):
            raise Malformed(f"found column {twice[0]!r} twice; expected distinct names")
        wanted = [self._subject, *self._types, *([] if self._time is None else [self._time])]
        if missing := [name for name in wanted if name not in columns]:
            raise Malformed(f"column {missing[0]!r} is missing; found {', '.join(map(repr, columns))}"[:500])
        self._columns = columns
        self._subject_at = columns.index(self._subject)
        self._time_at = None if self._time is None else columns.index(self._time)
        self._conversions = [
            (columns.index(name), _CONVERTERS[kind]) for name, kind in self._types.items() if kind in _CONVERTERS
        ]

    def _split(self, text: str) -> list[str]:
        if self._field is None or '"' not in text:
            return text.split(self._delimiter)
        fields, at = list[str](), 0
        while True:
            found = self._field.match(text, at)
            if found is None:
                raise Malformed(f"column {len(fields) + 1}: the quote is not closed, or text follows the closing quote")
            quoted, bare, delimiter = found.groups()
            fields.append(bare if quoted is None else quoted.replace('""', '"'))
            at = found.end()
            if not delimiter:
                return fields


def _field_pattern(delimiter: str) -> re.Pattern[str]:
    d = re.escape(delimiter)
    return re.compile(rf'(?:"((?:[^"]++|"")*+)"|([^"{d}][^{d}]*+|))({d}|\Z)')


def _time(text: str, column: str) -> bytes | None:
    if not text:
        return None
    try:
        return _json_text(msgspec.convert(text, _Time))[1:-1]
    except msgspec.ValidationError as exc:
        raise Malformed(f"column {column!r}: found {text[:80]!r}; expected an RFC 3339 time with an offset") from exc
