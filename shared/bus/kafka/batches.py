"""Encodes records into Kafka's record batches. This is the hottest code of writing.

See https://kafka.apache.org/documentation/#recordbatch. Aiokafka's C extension builds the batches. Compression is done
here because aiokafka's levels are fixed and cost more CPU: a KB takes 1.6 µs at level 1 of zstd and 1.2 µs at level 1
of lz4; aiokafka's levels 3 and 9 take 2.5 and 11 µs.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cramjam
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from shared.bus.kafka.options import Compression
from shared.bus.partitioning import partition_of
from shared.bus.protocol import RECORD_LIMIT, Outgoing, check_size

BATCH_LIMIT = 512 * 1024
"""Bytes of a batch before compression; one record may be larger. Any limit from 256 KiB to 1 MiB costs the same."""

REQUEST_LIMIT = RECORD_LIMIT + 64 * 1024
"""`max.message.bytes` of the topics: the largest record, in a batch of its own that did not compress."""

_SEQUENCES = 2**31
_MAGIC = 2
_ZSTD_LEVEL = 1
_COMPRESSION_PAYS = 1024  # bytes: in a smaller batch, the header of the compressed frame costs more than it saves

# Positions in the header of a batch.
_LENGTH_AT = 8
_CRC_AT = 17
_ATTRIBUTES_AT = 21
_RECORDS_AT = 61
_BEFORE_LENGTH_ENDS = 12


class ProducerIdAndEpoch(NamedTuple):
    """A producer; brokers refuse batches of an older epoch of the same id."""

    id: int
    epoch: int


class RecordBatch(NamedTuple):
    """One batch, as it is sent and stored."""

    topic: str
    partition: int
    content: bytes | bytearray


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
        builder, count = self._builder(sequence), 0
        for key, value, headers in records:
            listed = headers if type(headers) is list else list(headers)
            written = builder.append(count, timestamp, key, value, listed)
            if written is None:
                batches.append(RecordBatch(topic, partition, self._finish(builder)))
                sequence = (sequence + count) % _SEQUENCES
                builder, count = self._builder(sequence), 0
                written = builder.append(count, timestamp, key, value, listed)
            if written.size > RECORD_LIMIT:
                check_size(topic, Outgoing(key, value, headers))
            count += 1
        if count:
            batches.append(RecordBatch(topic, partition, self._finish(builder)))
        self._sequences[topic, partition] = (sequence + count) % _SEQUENCES
        return batches

    def _builder(self, sequence: int) -> DefaultRecordBatchBuilder:
        return DefaultRecordBatchBuilder(
            _MAGIC, 0, self._transactional, self._producer.id, self._producer.epoch, sequence, BATCH_LIMIT
        )

    def _finish(self, builder: DefaultRecordBatchBuilder) -> bytes | bytearray:
        plain: bytearray = builder.build()
        codec = _CODECS.get(self._compression)
        if codec is None or len(plain) < _COMPRESSION_PAYS:
            return plain
        number, compress = codec
        records = compress(memoryview(plain)[_RECORDS_AT:])
        if len(records) + _RECORDS_AT >= len(plain):
            return plain
        header = plain[:_RECORDS_AT]
        (attributes,) = struct.unpack_from(">h", header, _ATTRIBUTES_AT)
        struct.pack_into(">i", header, _LENGTH_AT, _RECORDS_AT - _BEFORE_LENGTH_ENDS + len(records))
        struct.pack_into(">h", header, _ATTRIBUTES_AT, attributes | number)
        packed = header + records
        struct.pack_into(">I", packed, _CRC_AT, calc_crc32c(bytes(memoryview(packed)[_ATTRIBUTES_AT:])))
        return packed


def _zstd(data: memoryview) -> bytes:
    return bytes(cramjam.zstd.compress(data, _ZSTD_LEVEL))


def _lz4(data: memoryview) -> bytes:
    # KIP-57: the frame's blocks must be independent of one another.
    compressor = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
    compressor.compress(bytes(data))
    return bytes(compressor.finish())


_XERIAL_HEADER = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def _snappy(data: memoryview) -> bytes:
    # The framing of the Java library (xerial), which brokers and clients expect.
    block = bytes(cramjam.snappy.compress_raw(data))
    return b"".join((_XERIAL_HEADER, struct.pack(">i", len(block)), block))


_CODECS: dict[str, tuple[int, Callable[[memoryview], bytes]]] = {
    "snappy": (2, _snappy),
    "lz4": (3, _lz4),
    "zstd": (4, _zstd),
}
