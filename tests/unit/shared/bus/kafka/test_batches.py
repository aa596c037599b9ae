"""Batches as brokers and other clients read them."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.kafka.batches import BATCH_LIMIT, Encoder, ProducerIdAndEpoch, by_partition
from shared.bus.kafka.options import Compression
from shared.bus.partitioning import partition_of
from shared.bus.protocol import RECORD_LIMIT, Outgoing
from shared.errors import TooLarge

COMPRESSIONS: tuple[Compression, ...] = ("none", "snappy", "lz4", "zstd")
NOW = 1_700_000_000_000

outgoing = st.builds(
    Outgoing,
    st.binary(),
    st.none() | st.binary(max_size=3000),
    st.lists(st.tuples(st.text(max_size=10), st.binary(max_size=20)), max_size=3).map(tuple),
)


def batches_in(content: bytes | bytearray) -> Iterator[Any]:
    records = MemoryRecords(bytes(content))
    while records.has_next():
        yield records.next_batch()


def read(content: bytes | bytearray) -> list[Outgoing]:
    found = []
    for batch in batches_in(content):
        assert batch.validate_crc()
        found += [Outgoing(record.key, record.value, tuple(record.headers)) for record in batch]
    return found


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(records=st.lists(outgoing, max_size=20))
def test_records_are_decoded_as_they_were_encoded(compression: Compression, records: list[Outgoing]) -> None:
    encoder = Encoder(ProducerIdAndEpoch(5, 2), compression, transactional=True)
    made = encoder.encode("t", 3, records, NOW)
    assert [record for batch in made for record in read(batch.content)] == records
    assert {(batch.topic, batch.partition) for batch in made} <= {("t", 3)}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_batch_has_its_producer_and_sequence_number(compression: Compression) -> None:
    encoder = Encoder(ProducerIdAndEpoch(5, 2), compression, transactional=True)
    body = b"x" * 2000
    for first in (0, 3):
        [made] = encoder.encode("t", 0, [Outgoing(b"k", body)] * 3, NOW)
        [batch] = batches_in(made.content)
        assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (5, 2, first)
        assert batch.is_transactional
        assert batch.max_timestamp == NOW
    [elsewhere] = encoder.encode("t", 1, [Outgoing(b"k", body)], NOW)
    [batch] = batches_in(elsewhere.content)
    assert batch.base_sequence == 0


def test_sequence_numbers_wrap_around() -> None:
    encoder = Encoder(ProducerIdAndEpoch(5, 2), "none", transactional=False)
    encoder._sequences["t", 0] = 2**31 - 2
    encoder.encode("t", 0, [Outgoing(b"k", b"v")] * 3, NOW)
    [made] = encoder.encode("t", 0, [Outgoing(b"k", b"v")], NOW)
    [batch] = batches_in(made.content)
    assert batch.base_sequence == 1


def test_batches_keep_to_the_limit_and_their_sequence_is_continuous() -> None:
    encoder = Encoder(ProducerIdAndEpoch(5, 2), "none", transactional=False)
    records = [Outgoing(b"%d" % number, b"x" * 1000) for number in range(2000)]
    made = encoder.encode("t", 0, records, NOW)
    assert len(made) > 3
    assert all(len(batch.content) <= BATCH_LIMIT for batch in made)
    assert [record for batch in made for record in read(batch.content)] == records
    expected = 0
    for batch in made:
        [only] = batches_in(batch.content)
        assert only.base_sequence == expected
        expected += sum(1 for _ in only)


@pytest.mark.parametrize("compression", ["snappy", "lz4", "zstd"])
def test_compression_makes_batches_smaller(compression: Compression) -> None:
    text = b'{"specversion":"1.0","source":"/sources/orders","type":"order.updated"}'
    [made] = Encoder(ProducerIdAndEpoch(1, 0), compression, transactional=False).encode(
        "t", 0, [Outgoing(b"k", text)] * 1000, NOW
    )
    assert len(made.content) < len(text) * 1000 / 5


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_batch_that_does_not_compress_stays_uncompressed(compression: Compression) -> None:
    record = Outgoing(b"k", random.Random(1).randbytes(20_000))
    [made] = Encoder(ProducerIdAndEpoch(1, 0), compression, transactional=False).encode("t", 0, [record], NOW)
    [plain] = Encoder(ProducerIdAndEpoch(1, 0), "none", transactional=False).encode("t", 0, [record], NOW)
    assert len(made.content) <= len(plain.content)
    assert read(made.content) == [record]


def test_a_record_above_the_batch_limit_gets_its_own_batch() -> None:
    encoder = Encoder(ProducerIdAndEpoch(1, 0), "none", transactional=False)
    large = Outgoing(b"k", b"v" * (RECORD_LIMIT - 1))
    made = encoder.encode("t", 0, [Outgoing(b"a", b"1"), large, Outgoing(b"b", b"2")], NOW)
    assert [len(read(batch.content)) for batch in made] == [1, 1, 1]


@pytest.mark.parametrize(
    "record",
    [
        Outgoing(b"k", b"v" * RECORD_LIMIT),
        Outgoing(b"k" * RECORD_LIMIT, None, [("h", b"")]),
        Outgoing(b"", b"", [("h", b"v" * RECORD_LIMIT)]),
    ],
)
def test_a_record_above_the_limit_is_refused_with_both_sizes(record: Outgoing) -> None:
    encoder = Encoder(ProducerIdAndEpoch(1, 0), "none", transactional=False)
    with pytest.raises(TooLarge, match=rf"^orders: .* {RECORD_LIMIT + 1} bytes, the limit is {RECORD_LIMIT}$"):
        encoder.encode("orders", 0, [Outgoing(b"a", b"1"), record], NOW)


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e"])), st.integers(1, 5))
def test_partitions_keep_order(keys: list[bytes], partitions: int) -> None:
    records = [Outgoing(key, str(number).encode()) for number, key in enumerate(keys)]
    grouped = by_partition(records, partitions)
    assert sum(len(batch) for batch in grouped.values()) == len(records)
    for partition, batch in grouped.items():
        assert batch == [record for record in records if partition_of(record.key, partitions) == partition]
