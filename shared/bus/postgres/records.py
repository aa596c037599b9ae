"""Records as rows of PostgreSQL."""

from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING

import asyncpg
import msgspec

from shared.bus.protocol import Headers

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...]).decode


def pack_headers(headers: Headers) -> bytes | None:
    """Encode headers for the table.

    MessagePack in a `bytea` takes 0.1 µs to encode or decode, and is exact. The server would parse and print `jsonb`,
    and values that are not text would have to be encoded as text.
    """
    return _encode(headers) if headers else None


def unpack_headers(packed: bytes | None) -> Headers:
    """Decode headers from the table."""
    return () if packed is None else _decode(packed)


class PostgresRecord(asyncpg.Record):
    """A `Record` that is a row of asyncpg's: nothing is copied, and headers are decoded on access."""

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
        """Decode the headers."""
        return unpack_headers(self[5])


@cache
def record_class(topic: str) -> type[PostgresRecord]:
    """Return the class of the records of one topic: they share its name, so the rows need not hold it."""
    return type("PostgresRecord", (PostgresRecord,), {"topic": topic})
