"""The columns of a table in MariaDB or MySQL: how each is selected, and how its values become JSON without loss."""

import base64
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from services.system_api.sources.table.sql import Quote

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})
_BINARY = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_GEOMETRY = frozenset(
    {
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
    }
)
_BY_NUMBER = frozenset({"enum", "set"})
_FIXED = _INTEGERS | {"float", "double", "decimal", "bit", "date", "datetime", "timestamp", "time"}
"""Types of which no value is larger than a few dozen bytes."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    type: str
    """`DATA_TYPE` of the information schema; `json` also for MariaDB's checked text."""
    nullable: bool
    auto_increment: bool

    @property
    def integer(self) -> bool:
        """Whether values are integers."""
        return self.type in _INTEGERS

    def selected(self, column: str) -> str:
        """Return the expression for the values as the client can read all of them."""
        if self.type in {"decimal", "date", "datetime", "timestamp", "time", "json"}:
            return f"CAST({column} AS CHAR)"
        if self.type == "float":
            return f"CAST({column} AS DOUBLE)"
        return column

    def size(self, column: str) -> str:
        """Return the expression for how many bytes a value takes in JSON at least."""
        if self.type in _FIXED:
            return "1"
        factor = " * 4 DIV 3" if self.type in _BINARY | _GEOMETRY else ""
        return f"IFNULL(OCTET_LENGTH({column}){factor}, 4)"

    @property
    def bounded(self) -> bool:
        """Whether a value may be too large."""
        return self.type not in _FIXED

    def encoder(self) -> Callable[[Any], Any]:
        """Return what makes of a value, not NULL, what is encoded as JSON."""
        return _ENCODERS.get(self.type, _text_or_binary)


class Encoder:
    """Encodes the rows of one shape."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [(column.name, column.encoder()) for column in columns]

    def encoded(self, values: Sequence[Any]) -> tuple[bytes, str | None]:
        """Return a row as a JSON object, and why it cannot be an event."""
        row: dict[str, Any] = {}
        error = None
        for (name, encode), value in zip(self._columns, values, strict=True):
            if value is None:
                row[name] = None
                continue
            row[name] = found = encode(value)
            if type(found) is float and not math.isfinite(found):
                error = f"column {name!r} is {found}, which JSON cannot represent"
        return _encode(row), error


def as_text(value: Any) -> str | None:
    """Return a key or a subject as text."""
    if value is None or isinstance(value, str):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def key_expression(column: Column, quoted: str) -> str:
    """Return the expression for a key column's values as text or as a number."""
    if column.type == "bit":
        return f"{quoted} + 0"
    return f"LOWER(HEX({quoted}))" if column.type in _BINARY else column.selected(quoted)


def key_value(column: Column, text: str) -> object:
    """Return the value of a key column whose text is `text`, as an argument."""
    if column.type in _BINARY:
        return bytes.fromhex(text)
    if column.type == "decimal":
        return Decimal(text)  # with a text, the server compares both as doubles
    return int(text) if column.integer or column.type == "bit" else text


def key_json(column: Column, text: str) -> Any:
    """Return what is encoded as JSON for a value of a key column whose text is `text`, as in the data of its row.

    Raises:
        ValueError: the column has no such value.
    """
    if column.integer or column.type == "bit":
        return int(text)
    encode = column.encoder()
    if column.type in {"float", "double"}:
        return encode(float(text))
    return encode(bytes.fromhex(text) if column.type in _BINARY else text)


def key_rank(column: Column, quoted: str) -> str:
    """Return the expression that a key column is ordered by, and compared with the bytes of `rank_value`.

    An `enum` or `set` is ordered by its number, and compared with a text by its text.
    """
    return f"CAST(CAST({quoted} AS CHAR) AS BINARY)" if column.type in _BY_NUMBER else quoted


def rank_value(column: Column, text: str) -> object:
    """Return the value of a key column whose text is `text`, for comparison with its `key_rank`."""
    return text.encode() if column.type in _BY_NUMBER else key_value(column, text)


def quoted(name: str) -> str:
    """Quote one identifier, for a statement with arguments: a percent sign in it is doubled."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


_QUOTE: Quote = quoted


def _float32(value: float) -> float:
    """Return the shortest decimal that is the same number of 32 bits."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", value):
            return short
    return float(f"{value:.9g}")  # always enough


def _bits(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _binary(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def _text_or_binary(value: Any) -> Any:
    return _binary(value) if isinstance(value, bytes) else value


def _raw(value: str) -> msgspec.Raw:
    return msgspec.Raw(value.encode())


def _datetime(value: str) -> str:
    return value.replace(" ", "T", 1)


def _timestamp(value: str) -> str:
    return f"{_datetime(value)}+00:00"


_ENCODERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_INTEGERS, int),
    **dict.fromkeys(_BINARY | _GEOMETRY, _binary),
    "float": _float32,
    "double": float,
    "decimal": _raw,
    "bit": _bits,
    "date": str,
    "time": str,
    "datetime": _datetime,
    "timestamp": _timestamp,
    "json": _raw,
}
