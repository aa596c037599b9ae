"""A record, as PostgreSQL holds it and as it is read back."""

from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from shared.bus.protocol import Headers

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def pack_headers(headers: Headers) -> bytes | None:
    """Write headers as the table holds them.

    MessagePack in a `bytea`: 0.1 µs either way, and exact. As `jsonb` the server would parse and print them as well,
    and values that are not text would have to be dressed as text.
    """
    return _encode(headers) if headers else None


def unpack_headers(packed: bytes | None) -> Headers:
    """Read headers back."""
    return () if packed is None else _decode(packed)


class StoredRecord(asyncpg.Record):
    """A `Record` over a row as asyncpg hands it out: nothing is copied, and headers are decoded when looked at."""

    if TYPE_CHECKING:
        topic: str
        partition: int
        offset: int
        timestamp: int
        key: bytes
        value: bytes | None
    else:
        topic = ""
        partition = property(itemgetter(0))
        offset = property(itemgetter(1))
        timestamp = property(itemgetter(2))
        key = property(itemgetter(3))
        value = property(itemgetter(4))

    @property
    def headers(self) -> Headers:
        """The headers, decoded."""
        return unpack_headers(self[5])


@cache
def records_of(topic: str) -> type[StoredRecord]:
    """Return the class of one topic's records: all of them share its name, so it needs no room in the row."""
    return type("StoredRecord", (StoredRecord,), {"topic": topic})
