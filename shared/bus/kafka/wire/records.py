"""Record batches, magic 2, as a producer sends them and brokers store them.

All records of a batch have one timestamp here. See https://kafka.apache.org/documentation/#recordbatch.

The bytes are those of aiokafka's builder, with which the tests compare them. The builder computes the CRC-32C of all
records by tables, before they are compressed as well, which takes as long as all that is done here.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from shared.bus.kafka.wire.checksum import crc32c
from shared.bus.protocol import RECORD_LIMIT, Outgoing, check_size

_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = _HEADER.size
_CRC = struct.Struct(">I")
_CRC_AT = 17
_CHECKED_FROM = _CRC_AT + _CRC.size
"""Where the bytes begin that the CRC-32C covers."""
_BEFORE_LENGTH_ENDS = 12
_NO_LEADER_EPOCH = -1
_MAGIC = 2
_TRANSACTIONAL = 0x10

_NULL = b"\x01"
"""The length of what is null: -1."""
_PLAIN = b"\0\0"
"""Of a record: no attributes, and the timestamp of its batch."""
_FIRST = b"\0"
"""The offset of the first record of a batch."""

_TWO_BYTES = 8192
"""Smaller numbers take at most two bytes."""
_USUAL = 2
"""Headers of a record that is an event."""


def _varint(number: int) -> bytes:
    """Encode a number of at least 0 in zigzag encoding, seven bits a byte."""
    left, encoded = number << 1, bytearray()
    while left >> 7:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


_small = [_varint(number) for number in range(_TWO_BYTES)]


def _size(number: int) -> bytes:
    return _small[number] if number < _TWO_BYTES else _varint(number)


@lru_cache(1024)
def _name(name: str) -> bytes:
    encoded = name.encode()
    return _size(len(encoded)) + encoded


def _header(name: str, value: bytes | None) -> bytes:
    return _name(name) + (_NULL if value is None else _size(len(value)) + value)


class _HeaderEncoder:
    """Encodes the headers of records. Most have two: one object for all, and another one that has one name in all."""

    def __init__(self) -> None:
        self._first: object = None
        self._name: object = None
        self._before = b""
        """The number of headers, the first one, and the name of the second one."""

    def encode(self, headers: Sequence[tuple[str, bytes | None]]) -> bytes:
        """Encode all headers of a record; of a record that another program wrote, one may have no value."""
        if len(headers) == _USUAL:
            first, (name, value) = headers
            if first is not self._first or name is not self._name:
                self._first, self._name = first, name
                self._before = _size(_USUAL) + _header(*first) + _name(name)
            return self._before + (_NULL if value is None else _size(len(value)) + value)
        return b"".join((_size(len(headers)), *(_header(*header) for header in headers)))


class BatchHead(NamedTuple):
    """What a batch says of its records."""

    producer: tuple[int, int]
    """Its id and epoch."""
    transactional: bool
    sequence: int
    """The sequence number of the first record."""
    total: int
    """The number of records."""
    timestamp: int
    """In milliseconds since 1970."""

    def encode(self, records: bytes, codec: int = 0) -> bytes:
        """Return what precedes these encoded records; `codec` says how they are compressed, 0 that they are not."""
        checksum = crc32c(self._packed(records, codec, 0)[_CHECKED_FROM:], records)
        return self._packed(records, codec, checksum)

    def _packed(self, records: bytes, codec: int, crc: int) -> bytes:
        return _HEADER.pack(
            0,
            HEADER_SIZE - _BEFORE_LENGTH_ENDS + len(records),
            _NO_LEADER_EPOCH,
            _MAGIC,
            crc,
            codec | (_TRANSACTIONAL if self.transactional else 0),
            self.total - 1,
            self.timestamp,
            self.timestamp,
            *self.producer,
            self.sequence,
            self.total,
        )


def encoded(topic: str, records: Iterable[Outgoing], limit: int) -> Iterator[tuple[bytes, int]]:
    """Encode records, and return those of one batch after another, each time with their number.

    `limit` is the maximum size of a batch in bytes, its header included; the first record may be larger. `topic` is for
    the error.

    Raises:
        TooLarge: a record is above `RECORD_LIMIT`.
    """
    parts: list[bytes] = []
    used, count = HEADER_SIZE, 0
    encode_headers, small = _HeaderEncoder().encode, _small
    for key, value, headers in records:
        content, ending = value or b"", encode_headers(headers)
        # Not by `_size`: its calls would take a quarter of the time.
        before = small[size] if (size := len(key)) < _TWO_BYTES else _varint(size)
        between = small[size] if (size := len(content)) < _TWO_BYTES else _varint(size)
        if value is None:
            between = _NULL
        offset = small[count] if count < _TWO_BYTES else _varint(count)
        size = 2 + len(offset) + len(before) + len(key) + len(between) + len(content) + len(ending)
        beginning = small[size] if size < _TWO_BYTES else _varint(size)
        used += len(beginning) + size
        if used > limit and count:
            yield b"".join(parts), count
            parts.clear()
            size -= len(offset) - len(_FIRST)
            offset, beginning, count = _FIRST, _size(size), 0
            used = HEADER_SIZE + len(beginning) + size
        if size > RECORD_LIMIT:
            check_size(topic, Outgoing(key, value, headers))
        parts += (beginning, _PLAIN, offset, before, key, between, content, ending)
        count += 1
    if count:
        yield b"".join(parts), count


def intact(content: bytes, begin: int, end: int) -> bool:
    """Return whether the batch between two positions has the contents that its CRC-32C tells."""
    (expected,) = _CRC.unpack_from(content, begin + _CRC_AT)
    return bool(crc32c(content[begin + _CHECKED_FROM : end]) == expected)
