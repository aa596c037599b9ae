"""Messages of the output plugin pgoutput: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html.

Version 1 of the protocol, values as text. A message may be cut off: the values after the cut are `MISSING`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from struct import Struct, error
from typing import Final, Literal, NamedTuple

from shared.errors import Malformed


class _Mark(Enum):
    MISSING = "missing"


MISSING: Final = _Mark.MISSING
"""A value that the message does not have: a large one that an update left as it was, or one after the cut."""

Value = bytes | None | Literal[_Mark.MISSING]
"""The text of a value, or NULL."""
Values = Sequence[Value]


@dataclass(frozen=True, slots=True)
class Begin:
    """A transaction that was committed; the changes that follow are its."""

    lsn: int
    """Where its commit is in the log."""
    time: int
    """When it was committed, in microseconds since 2000."""
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The end of a transaction."""

    end_lsn: int
    """Where the log goes on after its commit."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, as it was when the change was made."""

    name: str
    type_oid: int
    modifier: int
    identifies: bool
    """Whether it is in the replica identity."""


@dataclass(frozen=True, slots=True)
class Relation:
    """The definition of a table; sent before its first change, and after each change of it."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]


class RowChange(NamedTuple):
    """A row that was inserted, updated or deleted."""

    kind: Literal["insert", "update", "delete"]
    relation: int
    old: Values | None
    """The row before; only the columns of the replica identity unless `old_is_full`."""
    old_is_full: bool
    new: Values | None


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables that were truncated."""

    relations: tuple[int, ...]


Message = Begin | Commit | Relation | RowChange | Truncate | None
_KINDS: dict[bytes, Literal["insert", "update", "delete"]] = {b"I": "insert", b"U": "update", b"D": "delete"}
_NULL, _UNCHANGED = b"nu"
_SIZE = Struct(">I").unpack_from


def parse(data: bytes, codec: str = "utf-8") -> Message:
    """Return the message; None for one that says nothing about rows. `codec` is the encoding of names.

    Raises:
        Malformed: it is not a message of this version.
    """
    message = _Reader(data)
    kind = message.bytes(1)
    try:
        match kind:
            case b"B":
                return Begin(message.number(8), message.number(8), message.number(4))
            case b"C":
                message.bytes(1 + 8)
                return Commit(message.number(8))
            case b"R":
                return _relation(message, codec)
            case b"I" | b"U" | b"D":
                return _row_change(_KINDS[kind], message)
            case b"T":
                count, _ = message.number(4), message.bytes(1)
                return Truncate(tuple(message.number(4) for _ in range(count)))
            case b"O" | b"Y" | b"M":
                return None
            case _:
                pass
    except EOFError as exc:
        raise Malformed(f"the log has a message of {len(data)} bytes that ends too early") from exc
    raise Malformed(f"the log has a message {kind!r}; expected those of pgoutput, version 1")


class _Reader:
    """Reads a message from its beginning. Raises `EOFError` at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def bytes(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise EOFError
        found, self._at = self._data[self._at : end], end
        return found

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.bytes(size), "big", signed=signed)

    def text(self, codec: str) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise EOFError
        found, self._at = self._data[self._at : end], end + 1
        return found.decode(codec, errors="backslashreplace")

    def values(self) -> tuple[list[Value], bool]:
        """Return the values of a row, and whether the message was cut off in them."""
        count = self.number(2)
        values: list[Value] = []
        # Without a call for each value, of which a row has many.
        data, at = self._data, self._at
        try:
            for _ in range(count):
                kind = data[at]
                at += 1
                if kind == _NULL:
                    values.append(None)
                elif kind == _UNCHANGED:
                    values.append(MISSING)
                else:
                    begin = at + 4
                    at = begin + _SIZE(data, at)[0]
                    if at > len(data):
                        break
                    values.append(data[begin:at])
        except (IndexError, error):
            pass
        self._at = at
        cut = len(values) < count
        return values + [MISSING] * (count - len(values)), cut


def _relation(message: _Reader, codec: str) -> Relation:
    oid, schema, name, _ = message.number(4), message.text(codec), message.text(codec), message.bytes(1)
    columns = []
    for _ in range(message.number(2)):
        flags, column = message.number(1), message.text(codec)
        columns.append(Column(column, message.number(4), message.number(4, signed=True), bool(flags & 1)))
    return Relation(oid, schema, name, tuple(columns))


def _row_change(kind: Literal["insert", "update", "delete"], message: _Reader) -> RowChange:
    relation = message.number(4)
    old: list[Value] | None = None
    new: list[Value] | None = None
    full = False
    part = message.bytes(1)
    if part in {b"K", b"O"}:
        full = part == b"O"
        old, cut = message.values()
        # After a cut, nothing is known of the new row, but that it has as many columns.
        if kind == "update" and not cut:
            part = message.bytes(1)
        elif kind == "update":
            new = [MISSING] * len(old)
    if part == b"N":
        new, _ = message.values()
    return RowChange(kind, relation, old, full, new)
