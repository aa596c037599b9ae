"""Encodes records into Kafka's record batches. This is the hottest code of writing.

Compression is done here because aiokafka's levels are fixed and cost more CPU: a KB takes 1.6 µs at level 1 of zstd and
1.2 µs at level 1 of lz4; aiokafka's levels 3 and 9 take 2.5 and 11 µs.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cramjam

from shared.bus.kafka.options import Compression
from shared.bus.kafka.wire.records import HEADER_SIZE, BatchHead, encoded
from shared.bus.partitioning import partition_of
from shared.bus.protocol import RECORD_LIMIT, Outgoing

BATCH_LIMIT = 512 * 1024
"""Bytes of a batch before compression; one record may be larger. Any limit from 256 KiB to 1 MiB costs the same."""

REQUEST_LIMIT = RECORD_LIMIT + 64 * 1024
"""`max.message.bytes` of the topics: the largest record, in a batch of its own that did not compress."""

_SEQUENCES = 2**31
_ZSTD_LEVEL = 1
_COMPRESSION_PAYS = 1024  # bytes: in a smaller batch, the header of the compressed frame costs more than it saves


class ProducerIdAndEpoch(NamedTuple):
    """A producer; brokers refuse batches of an older epoch of the same id."""

    id: int
    epoch: int


class RecordBatch(NamedTuple):
    """One batch, as it is sent and stored."""

    topic: str
    partition: int
    head: bytes
    records: bytes

    @property
    def content(self) -> bytes:
        """The whole batch."""
        return self.head + self.records


def by_partition(records: Sequence[Outgoing], partitions: int) -> dict[int, list[Outgoing]]:
    """Group records by the partition of their key, in their order."""
    if partitions == 1:
        return {0: list(records)} if records else {}
    grouped: dict[int, list[Outgoing]] = {}
    by_key: dict[bytes, list[Outgoing]] = {}  # a transaction has few keys, and a lookup costs half of a CRC-32
    for record in records:
        group = by_key.get(record.key)
        if group is None:
            group = by_key[record.key] = grouped.setdefault(partition_of(record.key, partitions), [])
        group.append(record)
    return grouped


class Encoder:
    """Encodes the batches of one producer, with a sequence number for each partition."""

    def __init__(self, producer: ProducerIdAndEpoch, compression: Compression, *, transactional: bool) -> None:
        self._producer = producer
        self._compression = compression
        self._transactional = transactional
        self._sequences: dict[tuple[str, int], int] = {}

    def encode(self, topic: str, partition: int, records: Iterable[Outgoing], timestamp: int) -> list[RecordBatch]:
        """Return the records in as few batches as the limit allows; `timestamp` in milliseconds since 1970.

        Raises:
            TooLarge: a record is above `RECORD_LIMIT`. The sequence numbers have a gap then; use another encoder.
        """
        sequence = self._sequences.get((topic, partition), 0)
        batches = []
        for content, count in encoded(topic, records, BATCH_LIMIT):
            head = BatchHead(self._producer, self._transactional, sequence, count, timestamp)
            batches.append(RecordBatch(topic, partition, *self._packed(head, content)))
            sequence = (sequence + count) % _SEQUENCES
        self._sequences[topic, partition] = sequence
        return batches

    def _packed(self, head: BatchHead, records: bytes) -> tuple[bytes, bytes]:
        codec = _CODECS.get(self._compression)
        if codec is None or HEADER_SIZE + len(records) < _COMPRESSION_PAYS:
            return head.encode(records), records
        number, compress = codec
        compressed = compress(records)
        if len(compressed) >= len(records):
            return head.encode(records), records
        return head.encode(compressed, number), compressed


def _zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data, _ZSTD_LEVEL))


def _lz4(data: bytes) -> bytes:
    # KIP-57: the frame's blocks must be independent of one another.
    compressor = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
    compressor.compress(data)
    return bytes(compressor.finish())


_XERIAL_HEADER = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def _snappy(data: bytes) -> bytes:
    # The framing of the Java library (xerial), which brokers and clients expect.
    block = bytes(cramjam.snappy.compress_raw(data))
    return b"".join((_XERIAL_HEADER, struct.pack(">i", len(block)), block))


_CODECS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "snappy": (2, _snappy),
    "lz4": (3, _lz4),
    "zstd": (4, _zstd),
}
