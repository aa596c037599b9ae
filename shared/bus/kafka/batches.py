"""Records to Kafka's record batches: the hottest code of the writing side.

See https://kafka.apache.org/documentation/#recordbatch. The batch is built by aiokafka's C extension. Compression is
ours, for aiokafka's levels are fixed at values that cost several times as much CPU: a KB takes 1.6 µs at level 1 of
zstd and 1.2 at level 1 of lz4, where its own choices, 3 and 9, take 2.5 and 11.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import cramjam
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from shared.bus.kafka.options import Compression
from shared.bus.protocol import RECORD_LIMIT, Outgoing, check_size, partition_of

BATCH_LIMIT = 512 * 1024
"""Bytes of a batch before compression; one record may be larger. From 256 KiB to 1 MiB cost the same a record."""

REQUEST_LIMIT = RECORD_LIMIT + 64 * 1024
"""`max.message.bytes` of our topics: the largest record, in a batch of its own that did not compress."""

_SEQUENCES = 2**31
_MAGIC = 2
_ZSTD_LEVEL = 1
_COMPRESSION_PAYS = 1024  # bytes: below, the head of the compressed frame eats the gain

# Where things lie in the head of a batch.
_LENGTH_AT = 8
_CRC_AT = 17
_ATTRIBUTES_AT = 21
_RECORDS_AT = 61
_BEFORE_LENGTH_ENDS = 12


class Producer(NamedTuple):
    """Who writes, as the brokers know it: what an older epoch of the same id sends is refused."""

    id: int
    epoch: int


class Batch(NamedTuple):
    """One batch, as it travels and is stored."""

    topic: str
    partition: int
    content: bytes | bytearray


def by_partition(records: Sequence[Outgoing], partitions: int) -> dict[int, list[Outgoing]]:
    """Sort records by the partition of their key, keeping their order."""
    if partitions == 1:
        return {0: list(records)} if records else {}
    dealt: dict[int, list[Outgoing]] = {}
    by_key: dict[bytes, list[Outgoing]] = {}  # a batch has few keys, and looking one up costs half of hashing it
    for record in records:
        batch = by_key.get(record.key)
        if batch is None:
            batch = by_key[record.key] = dealt.setdefault(partition_of(record.key, partitions), [])
        batch.append(record)
    return dealt


class Encoder:
    """Makes the batches of one producer; each partition's are numbered, so that the broker sees none twice."""

    def __init__(self, producer: Producer, compression: Compression, *, transactional: bool) -> None:
        self._producer = producer
        self._compression = compression
        self._transactional = transactional
        self._sequences: dict[tuple[str, int], int] = {}

    def encode(self, topic: str, partition: int, records: Iterable[Outgoing], timestamp: int) -> list[Batch]:
        """Return the records in as few batches as the limit allows; `timestamp` in milliseconds since 1970.

        Raises:
            TooLarge: a record is above the limit of all buses. The numbers no longer fit then: this encoder is spent.
        """
        sequence = self._sequences.get((topic, partition), 0)
        batches = []
        builder, count = self._builder(sequence), 0
        for key, value, headers in records:
            listed = headers if type(headers) is list else list(headers)
            written = builder.append(count, timestamp, key, value, listed)
            if written is None:
                batches.append(Batch(topic, partition, self._finish(builder)))
                sequence = (sequence + count) % _SEQUENCES
                builder, count = self._builder(sequence), 0
                written = builder.append(count, timestamp, key, value, listed)
            if written.size > RECORD_LIMIT:
                check_size(topic, Outgoing(key, value, headers))
            count += 1
        if count:
            batches.append(Batch(topic, partition, self._finish(builder)))
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
        head = plain[:_RECORDS_AT]
        (attributes,) = struct.unpack_from(">h", head, _ATTRIBUTES_AT)
        struct.pack_into(">i", head, _LENGTH_AT, _RECORDS_AT - _BEFORE_LENGTH_ENDS + len(records))
        struct.pack_into(">h", head, _ATTRIBUTES_AT, attributes | number)
        packed = head + records
        struct.pack_into(">I", packed, _CRC_AT, calc_crc32c(bytes(memoryview(packed)[_ATTRIBUTES_AT:])))
        return packed


def _zstd(data: memoryview) -> bytes:
    return bytes(cramjam.zstd.compress(data, _ZSTD_LEVEL))


def _lz4(data: memoryview) -> bytes:
    # KIP-57: the frame's blocks must be independent of one another.
    compressor = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
    compressor.compress(bytes(data))
    return bytes(compressor.finish())


_XERIAL_HEAD = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)


def _snappy(data: memoryview) -> bytes:
    # The framing of the Java library (xerial), which is what brokers and clients expect.
    block = bytes(cramjam.snappy.compress_raw(data))
    return b"".join((_XERIAL_HEAD, struct.pack(">i", len(block)), block))


_CODECS: dict[str, tuple[int, Callable[[memoryview], bytes]]] = {
    "snappy": (2, _snappy),
    "lz4": (3, _lz4),
    "zstd": (4, _zstd),
}
