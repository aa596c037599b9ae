"""CSV: rows of fields, each row one JSON object whose members are the columns. RFC 4180, in UTF-8. No I/O.

Stricter than most readers where reading on would make events of garbage: a row with too few or too many fields, text
after a closing quote, and an empty subject are refused.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from services.system_api.sources.file.parsing.parser import Row
from services.system_api.sources.file.parsing.splitter import Cut, cut_lines, row_cutter
from shared.errors import Malformed

_Time = Annotated[datetime, msgspec.Meta(tz=True)]

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

_json_text = msgspec.json.Encoder().encode
_raw = msgspec.json.Decoder(msgspec.Raw).decode

Value = str | bool | msgspec.Raw | None


class ColumnType(StrEnum):
    """What a column's text stands for. An empty field is the empty string for `string`, and null for the others."""

    STRING = "string"
    INTEGER = "integer"
    """Kept digit by digit, whatever its size."""
    NUMBER = "number"
    """Kept digit by digit, as JSON writes numbers."""
    BOOLEAN = "boolean"
    """`true`, `false`, `1` or `0`, in any case."""
    JSON = "json"
    """Any JSON value, put in as it is."""


def _matched(pattern: re.Pattern[str], what: str) -> Callable[[str], Value]:
    def convert(text: str) -> Value:
        if not text:
            return None
        if not pattern.fullmatch(text):
            raise Malformed(f"{text[:80]!r} is no {what}")
        return msgspec.Raw(text)

    return convert


def _boolean(text: str) -> Value:
    if not text:
        return None
    if (value := _BOOLEANS.get(text.lower())) is None:
        raise Malformed(f"{text[:80]!r} is no boolean: true, false, 1 or 0")
    return value


def _json(text: str) -> Value:
    if not text:
        return None
    try:
        return _raw(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Malformed(str(exc)) from exc


_CONVERTERS: Mapping[ColumnType, Callable[[str], Value]] = {
    ColumnType.INTEGER: _matched(_INTEGER, "integer"),
    ColumnType.NUMBER: _matched(_NUMBER, "number"),
    ColumnType.BOOLEAN: _boolean,
    ColumnType.JSON: _json,
}


class Csv:
    """Reads the rows of one file. A header names the columns, unless they are named already."""

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
        """`subject` and `time` name columns. Without a header, `columns` is needed."""
        self.cut: Cut = row_cutter(delimiter.encode()) if quotes else cut_lines
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
            assert columns is not None, "the options demand it"
            self._use(columns)

    def header(self, piece: bytes) -> None:
        """Learn the columns."""
        fields = self._split(piece.decode())
        if self._named is not None and len(self._named) != len(fields):
            raise Malformed(f"it has {len(fields)} columns, the settings name {len(self._named)}")
        self._use(fields if self._named is None else self._named)
        self.wants_header = False

    def normalize(self, piece: bytes) -> bytes:
        """Leave the row as it is: a carriage return within a field belongs to it."""
        return piece

    def read(self, piece: bytes) -> Row:
        """Read one row."""
        fields = self._split(piece.decode())
        if len(fields) != len(self._columns):
            raise Malformed(f"{len(fields)} fields, expected {len(self._columns)}")
        subject = fields[self._subject_at]
        if not subject:
            raise Malformed(f"the subject, column {self._subject!r}, is empty")
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
            raise Malformed(f"column {twice[0]!r} comes twice")
        wanted = [self._subject, *self._types, *([] if self._time is None else [self._time])]
        if missing := [name for name in wanted if name not in columns]:
            raise Malformed(f"no column {missing[0]!r}; there are {', '.join(map(repr, columns))}"[:500])
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
                raise Malformed(f"column {len(fields) + 1}: its quote is not closed, or text follows the closing one")
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
        raise Malformed(f"column {column!r}: {text[:80]!r} is no time as in RFC 3339, with an offset") from exc
