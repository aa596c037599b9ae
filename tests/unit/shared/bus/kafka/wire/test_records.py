"""Record batches, beside those of aiokafka's builder."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.kafka.wire import checksum
from shared.bus.kafka.wire.checksum import crc32c
from shared.bus.kafka.wire.records import HEADER_SIZE, BatchHead, encoded, intact
from shared.bus.protocol import RECORD_LIMIT, Outgoing
from shared.errors import TooLarge

NOW = 1_700_000_000_000
PRODUCER = (7, 3)

SHARED = ("content-type", b"application/json")
sizes = st.sampled_from([0, 1, 63, 64, 8191, 8192, 20_000])
contents = st.binary(max_size=70) | sizes.map(bytes)
headers = st.lists(
    st.just(SHARED) | st.tuples(st.sampled_from(["trelay-provenance", "é" * 70, ""]) | st.text(), contents | st.none()),
    max_size=3,
)
records = st.lists(st.builds(Outgoing, contents, st.none() | contents, headers), max_size=100)


def by_aiokafka(written: Sequence[Outgoing], limit: int) -> list[bytes]:
    """Return the batches that aiokafka's builder makes, which keeps them below its limit."""
    batches: list[bytes] = []
    builder, count, sequence = None, 0, 5
    for key, value, given_headers in written:
        listed: list[Any] = list(given_headers)
        if builder is not None and builder.append(count, NOW, key, value, listed) is None:
            batches.append(bytes(builder.build()))
            builder, sequence = None, sequence + count
        if builder is None:
            builder, count = DefaultRecordBatchBuilder(2, 0, True, *PRODUCER, sequence, limit + 1), 0
            builder.append(count, NOW, key, value, listed)
        count += 1
    return batches if builder is None else [*batches, bytes(builder.build())]


def made(written: Sequence[Outgoing], limit: int) -> list[bytes]:
    batches, sequence = [], 5
    for content, count in encoded("t", written, limit):
        batches.append(BatchHead(PRODUCER, True, sequence, count, NOW).encode(content) + content)
        sequence += count
    return batches


@given(records, st.sampled_from([HEADER_SIZE, 200, 9000, 2**20]))
def test_batches_have_the_bytes_of_aiokafka(written: list[Outgoing], limit: int) -> None:
    assert made(written, limit) == by_aiokafka(written, limit)


@pytest.mark.parametrize("limit", [600_000, 100_000])
def test_offsets_of_many_small_records_have_the_bytes_of_aiokafka(limit: int) -> None:
    written = [Outgoing(b"", None)] * 20_000
    assert made(written, limit) == by_aiokafka(written, limit)


def test_headers_that_change_their_name_or_their_first_are_encoded_anew() -> None:
    other = ("content-type", b"text/plain")
    pairs: list[Any] = [
        (SHARED, ("a", b"1")),
        (SHARED, ("a", b"2")),
        (SHARED, ("b", b"3")),
        (other, ("b", None)),
        (other, other),
    ]
    written = [Outgoing(b"k", b"v", pair) for pair in pairs]
    assert made(written, 1000) == by_aiokafka(written, 1000)


def test_a_record_that_only_its_encoding_makes_larger_is_written() -> None:
    written = [Outgoing(b"", bytes(RECORD_LIMIT))]
    assert made(written, 1000) == by_aiokafka(written, 1000)
    with pytest.raises(TooLarge):
        made([Outgoing(b"k", bytes(RECORD_LIMIT))], 1000)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_checksum_is_that_of_aiokafka(head: bytes, rest: bytes) -> None:
    assert crc32c(head, rest) == calc_crc32c(head + rest)


def test_without_a_compiled_extension_the_checksum_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # RFC 3720, B.4: 32 bytes of zeros.
    zeros = bytes.fromhex("aa36918a")[::-1]
    assert checksum._compiled
    assert crc32c(bytes(16), bytes(16)) == int.from_bytes(zeros)
    monkeypatch.setattr(checksum, "_compiled", False)
    assert crc32c(bytes(16), bytes(16)) == int.from_bytes(zeros)


def test_each_changed_byte_that_is_checked_is_found() -> None:
    [batch] = made([Outgoing(b"k", b"value")], 1000)
    content = b"before" + batch + b"after"
    assert intact(content, 6, 6 + len(batch))
    for place in range(17, len(batch)):
        changed = bytearray(content)
        changed[6 + place] ^= 1
        assert not intact(bytes(changed), 6, 6 + len(batch))
