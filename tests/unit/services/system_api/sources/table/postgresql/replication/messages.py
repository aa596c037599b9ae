"""Messages of pgoutput for tests."""

from collections.abc import Sequence
from struct import pack


def begin(lsn: int, xid: int = 5, time: int = 7) -> bytes:
    return b"B" + pack(">QQI", lsn, time, xid)


def commit(lsn: int, end: int) -> bytes:
    return b"C\0" + pack(">QQQ", lsn, end, 7)


def relation(oid: int, name: str, columns: Sequence[tuple[str, int, bool]]) -> bytes:
    described = b"".join(
        pack(">B", identifies) + column.encode() + b"\0" + pack(">Ii", type_, -1)
        for column, type_, identifies in columns
    )
    return b"R" + pack(">I", oid) + b"public\0" + name.encode() + b"\0d" + pack(">H", len(columns)) + described


def row(values: Sequence[str | None]) -> bytes:
    """The values of a row; `?` is one that is left out."""
    encoded = [
        b"n" if value is None else b"u" if value == "?" else b"t" + pack(">I", len(value.encode())) + value.encode()
        for value in values
    ]
    return pack(">H", len(values)) + b"".join(encoded)


def insert(oid: int, values: Sequence[str | None]) -> bytes:
    return b"I" + pack(">I", oid) + b"N" + row(values)


def update(oid: int, old: Sequence[str | None] | None, new: Sequence[str | None], part: bytes = b"K") -> bytes:
    return b"U" + pack(">I", oid) + (b"" if old is None else part + row(old)) + b"N" + row(new)


def delete(oid: int, old: Sequence[str | None], part: bytes = b"K") -> bytes:
    return b"D" + pack(">I", oid) + part + row(old)


def truncate(*oids: int) -> bytes:
    return b"T" + pack(">IB", len(oids), 0) + b"".join(pack(">I", oid) for oid in oids)
