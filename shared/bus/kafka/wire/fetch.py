"""Fetch, version 12: the first that carries the epochs of both KIP-320 and KIP-595.

With `current_leader_epoch`, a broker that does not know the newest leader returns an error. With `last_fetched_epoch`,
the leader compares its log with what was read before, so that a log truncated below the position is detected.

There is one request for each event when events are rare. Aiokafka's schemas take 300 µs to encode and decode one, most
of all that an event costs until its deliveries. The tests compare what is done here with them.
"""

import struct
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import NamedTuple

from shared.bus.kafka.wire.request import VersionedRequest

_API_KEY = 1
_API_VERSION = 12
_CONSUMER = -1
_NO_SESSION = 0
_NO_SESSION_EPOCH = -1
_MIN_BYTES = 1
_COMMITTED_ONLY = 1
_LOG_START_UNKNOWN = -1
_DIVERGING_EPOCH = 0
"""The tag of the field of a partition that says where its log diverges from what was read."""

_NO_TAGS = b"\0"
_REQUEST_HEADER = struct.Struct(">hhih")
_REQUEST = struct.Struct(">iiiibii")
_REQUESTED_PARTITION = struct.Struct(">iiqiqix")
_REQUEST_END = _NO_TAGS + b"\1\1" + _NO_TAGS
"""After the partitions of the one topic: its tags, no forgotten topics, no rack, the tags of the request."""

_CORRELATION_ID = struct.Struct(">i")
_RESPONSE = struct.Struct(">ihi")
_PARTITION = struct.Struct(">ihqqq")
_ABORTED = struct.Struct(">qq")
_PREFERRED_REPLICA_SIZE = 4
_DIVERGING = struct.Struct(">iq")

UNKNOWN_EPOCH = -1


class FetchPosition(NamedTuple):
    """Where to read on in one partition."""

    offset: int
    leader_epoch: int = UNKNOWN_EPOCH
    """The epoch of the leader that the request goes to, where it is known."""
    fetched_epoch: int = UNKNOWN_EPOCH
    """The epoch of the batch that was read last."""


class FetchedPartition(NamedTuple):
    """What a response says of one partition."""

    partition: int
    error_code: int
    high_watermark: int
    last_stable_offset: int
    aborted: Sequence[tuple[int, int]] = ()
    """Producers, and the first offsets of their aborted transactions."""
    records: bytes = b""
    diverging_offset: int | None = None
    """Where the leader's log diverges from what was read before; None where it does not."""


class FetchResponse(NamedTuple):
    """A response to a request for one topic."""

    error_code: int
    partitions: Sequence[FetchedPartition]

    @classmethod
    def decode(cls, data: BytesIO) -> "FetchResponse":
        """Read the body of a response.

        Raises:
            ValueError, IndexError or struct.error: it is truncated.
        """
        content, at = data.getvalue(), data.tell()
        _, error_code, _ = _RESPONSE.unpack_from(content, at)
        partitions: list[FetchedPartition] = []
        topics, at = _length(content, at + _RESPONSE.size)
        for _ in range(topics):
            size, at = _length(content, at)
            count, at = _length(content, at + size)
            for _ in range(count):
                partition, at = _partition(content, at)
                partitions.append(partition)
            _, at = _tagged(content, at)
        if _tagged(content, at)[1] > len(content):
            raise ValueError("the response to a fetch is truncated")
        return cls(error_code, partitions)


class _Header(NamedTuple):
    """The header of a request, as aiokafka's connection takes it."""

    encoded: bytes

    def encode(self) -> bytes:
        return self.encoded


class _ResponseHeader(NamedTuple):
    """The header of a response, as aiokafka's connection takes it."""

    correlation_id: int


class FetchRequest:
    """A request for some partitions of one topic, with what aiokafka's connection uses of its `RequestStruct`."""

    API_KEY = _API_KEY
    API_VERSION = _API_VERSION
    RESPONSE_TYPE = FetchResponse

    def __init__(self, body: bytes) -> None:
        self._body = body

    def build_request_header(self, correlation_id: int, client_id: str) -> _Header:
        """Return a header of version 2."""
        client = client_id.encode()
        return _Header(_REQUEST_HEADER.pack(_API_KEY, _API_VERSION, correlation_id, len(client)) + client + _NO_TAGS)

    def encode(self) -> bytes:
        """Return the body."""
        return self._body

    @staticmethod
    def parse_response_header(data: BytesIO) -> _ResponseHeader:
        """Read a header of version 1."""
        content = data.getvalue()
        (correlation_id,) = _CORRELATION_ID.unpack_from(content)
        _, body = _tagged(content, _CORRELATION_ID.size)
        data.seek(body)
        return _ResponseHeader(correlation_id)


def fetch(
    topic: str, positions: Iterable[tuple[int, FetchPosition]], *, wait: float, max_bytes: int, partition_max_bytes: int
) -> VersionedRequest:
    """Request committed records of some partitions from their leader.

    It answers as soon as it has any, or after `wait` seconds.
    """
    name = topic.encode()
    partitions = [
        _REQUESTED_PARTITION.pack(
            partition, leader_epoch, offset, fetched_epoch, _LOG_START_UNKNOWN, partition_max_bytes
        )
        for partition, (offset, leader_epoch, fetched_epoch) in positions
    ]
    head = _REQUEST.pack(
        _CONSUMER, int(wait * 1000), _MIN_BYTES, max_bytes, _COMMITTED_ONLY, _NO_SESSION, _NO_SESSION_EPOCH
    )
    counted = (_encoded_length(1), _encoded_length(len(name)), name, _encoded_length(len(partitions)))
    return VersionedRequest(FetchRequest(b"".join((head, *counted, *partitions, _REQUEST_END))))


def _partition(content: bytes, at: int) -> tuple[FetchedPartition, int]:
    """Read one partition; return the position after it as well."""
    partition, error_code, high_watermark, last_stable, _ = _PARTITION.unpack_from(content, at)
    count, at = _length(content, at + _PARTITION.size)
    aborted = []
    for _ in range(count):
        aborted.append(_ABORTED.unpack_from(content, at))
        _, at = _tagged(content, at + _ABORTED.size)
    size, at = _length(content, at + _PREFERRED_REPLICA_SIZE)
    records = content[at : at + size]
    tagged, at = _tagged(content, at + size)
    diverging = _DIVERGING.unpack_from(content, tagged[_DIVERGING_EPOCH])[1] if _DIVERGING_EPOCH in tagged else None
    return FetchedPartition(partition, error_code, high_watermark, last_stable, aborted, records, diverging), at


def _tagged(content: bytes, at: int) -> tuple[dict[int, int], int]:
    """Return where each tagged field begins, by tag; and the position after all of them (KIP-482)."""
    found = {}
    count, at = _unsigned(content, at)
    for _ in range(count):
        tag, at = _unsigned(content, at)
        size, at = _unsigned(content, at)
        found[tag] = at
        at += size
    return found, at


def _length(content: bytes, at: int) -> tuple[int, int]:
    """Read the length of something compact, which is 0 as well if that is null; return the position after it too."""
    length, at = _unsigned(content, at)
    return max(length - 1, 0), at


def _unsigned(content: bytes, at: int) -> tuple[int, int]:
    """Read a varint (LEB128); return the position after it as well."""
    byte = content[at]
    at += 1
    if byte < 0x80:  # noqa: PLR2004 -- what fits into seven bits
        return byte, at
    number, shift = byte & 0x7F, 7
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return number, at
        shift += 7


def _encoded_length(length: int) -> bytes:
    """Encode the length of something compact that is not null."""
    left, encoded = length + 1, bytearray()
    while left >> 7:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)
