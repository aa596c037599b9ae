"""From what a broker returns to what readers get."""

import struct
from collections.abc import Sequence

import pytest
from aiokafka.record.util import calc_crc32c

from shared.bus.kafka.batches import Encoder, ProducerIdAndEpoch
from shared.bus.kafka.decoding import CompletedFetch, KafkaRecord
from shared.bus.kafka.options import Compression
from shared.bus.protocol import Outgoing
from shared.errors import Unavailable
from tests.servers.header_names import RawBytes

NOW = 1_700_000_000_000
CONTROL = 0x20
ABORT, COMMIT = 0, 1


class Log:
    """A partition as a broker stores it."""

    def __init__(self) -> None:
        self.content = b""
        self.end = 0

    def write(self, producer: int, *values: str, compression: Compression = "none") -> int:
        """Append one batch of a transaction; return its first offset."""
        encoder = Encoder(ProducerIdAndEpoch(producer, 0), compression, transactional=True)
        records = [Outgoing(b"k", value.encode() * 100, [("h", value.encode())]) for value in values]
        [batch] = encoder.encode("t", 0, records, NOW)
        return self._append(bytearray(batch.content), len(values))

    def mark(self, producer: int, kind: int) -> None:
        """Append the marker that ends a transaction."""
        encoder = Encoder(ProducerIdAndEpoch(producer, 0), "none", transactional=True)
        [batch] = encoder.encode("t", 0, [Outgoing(struct.pack(">hh", 0, kind), b"\0\0\0\0\0\0")], NOW)
        content = bytearray(batch.content)
        (attributes,) = struct.unpack_from(">h", content, 21)
        struct.pack_into(">h", content, 21, attributes | CONTROL)
        struct.pack_into(">I", content, 17, calc_crc32c(bytes(content[21:])))
        self._append(content, 1)

    def _append(self, batch: bytearray, count: int) -> int:
        first = self.end
        struct.pack_into(">q", batch, 0, first)
        self.content += bytes(batch)
        self.end += count
        return first

    def read(self, position: int = 0, aborted: Sequence[tuple[int, int]] | None = None) -> CompletedFetch:
        return CompletedFetch("t", 0, position, self.content, aborted)


def values(records: list[KafkaRecord]) -> list[str]:
    return [(record.value or b"").decode()[:1] for record in records]


@pytest.mark.parametrize("compression", ["none", "snappy", "lz4", "zstd"])
def test_a_record_is_complete(compression: Compression) -> None:
    log = Log()
    log.write(1, "a", "b", compression=compression)
    fetch = log.read()
    [a, b] = fetch.take(10)
    assert a == KafkaRecord("t", 0, 0, NOW, b"k", b"a" * 100, [("h", b"a")])
    assert (b.offset, b.value, b.headers) == (1, b"b" * 100, [("h", b"b")])
    assert fetch.exhausted
    assert fetch.position == 2


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_name_of_a_header_need_not_be_text(compression: Compression) -> None:
    """Brokers store it, and aiokafka raises an error: no record behind it would ever be read."""
    log = Log()
    encoder = Encoder(ProducerIdAndEpoch(1, 0), compression, transactional=True)
    headers: list[tuple[str, bytes]] = [(RawBytes(b"\xff\xfex"), b"\xff"), ("ok", b"2")]
    records = [Outgoing(b"k", b"v" * 200, headers), Outgoing(b"\xff", None, [("é", b"")]), Outgoing(b"k", b"w")]
    [batch] = encoder.encode("t", 0, records, NOW)
    log._append(bytearray(batch.content), len(records))
    log.write(1, "b", compression=compression)
    for position in range(3):
        found = log.read(position).take(10)
        assert [record.offset for record in found] == list(range(position, 4))
    assert log.read().take(10)[:3] == [
        KafkaRecord("t", 0, 0, NOW, b"k", b"v" * 200, [("\\xff\\xfex", b"\xff"), ("ok", b"2")]),
        KafkaRecord("t", 0, 1, NOW, b"\xff", None, [("é", b"")]),
        KafkaRecord("t", 0, 2, NOW, b"k", b"w", []),
    ]


def test_markers_are_skipped() -> None:
    log = Log()
    log.write(1, "a")
    log.mark(1, COMMIT)
    log.write(1, "b")
    log.mark(1, COMMIT)
    fetch = log.read()
    records = fetch.take(10)
    assert values(records) == ["a", "b"]
    assert [record.offset for record in records] == [0, 2]
    assert fetch.exhausted
    assert fetch.position == log.end == 4


def test_a_marker_alone_moves_the_position() -> None:
    log = Log()
    log.mark(1, COMMIT)
    fetch = log.read()
    assert not fetch.exhausted
    assert fetch.take(10) == []
    assert fetch.exhausted
    assert fetch.position == 1


def test_aborted_records_are_skipped_and_later_ones_of_the_producer_are_not() -> None:
    log = Log()
    first = log.write(1, "a", "b")
    log.write(2, "c")
    log.write(1, "d")
    log.mark(1, ABORT)
    log.write(1, "e")
    log.mark(2, COMMIT)
    log.mark(1, COMMIT)
    fetch = log.read(aborted=[(1, first)])
    assert values(fetch.take(10)) == ["c", "e"]
    assert fetch.position == log.end


def test_two_aborted_transactions_of_one_producer() -> None:
    log = Log()
    first = log.write(1, "a")
    log.mark(1, ABORT)
    log.write(1, "b")
    log.mark(1, COMMIT)
    second = log.write(1, "c")
    log.mark(1, ABORT)
    assert values(log.read(aborted=[(1, second), (1, first)]).take(10)) == ["b"]


def test_an_aborted_transaction_that_begins_before_the_fetch() -> None:
    log = Log()
    log.write(1, "a")
    log.mark(1, ABORT)
    log.write(2, "b")
    log.mark(2, COMMIT)
    fetch = CompletedFetch("t", 0, 0, log.content, [(1, -5)])
    assert values(fetch.take(10)) == ["b"]


def test_a_position_inside_a_batch() -> None:
    log = Log()
    log.write(1, "a", "b", "c")
    fetch = log.read(position=2)
    assert values(fetch.take(10)) == ["c"]
    assert fetch.position == 3


def test_take_returns_no_more_than_the_limit() -> None:
    log = Log()
    log.write(1, "a", "b", "c")
    log.write(1, "d", "e")
    log.mark(1, COMMIT)
    fetch = log.read()
    seen = []
    positions = []
    while not fetch.exhausted:
        taken = fetch.take(2)
        assert len(taken) <= 2
        seen += values(taken)
        positions.append(fetch.position)
    assert seen == ["a", "b", "c", "d", "e"]
    assert positions == [2, 4, 6]


def test_an_incomplete_batch_is_left_for_the_next_fetch() -> None:
    log = Log()
    log.write(1, "a")
    whole = len(log.content)
    log.write(1, "b")
    fetch = CompletedFetch("t", 0, 0, log.content[: whole + 30], None)
    assert values(fetch.take(10)) == ["a"]
    assert fetch.exhausted
    assert fetch.position == 1


def test_a_corrupt_batch_is_detected_and_the_position_stays_before_it() -> None:
    log = Log()
    log.write(1, "a")
    intact = len(log.content)
    log.write(1, "b")
    corrupt = bytearray(log.content)
    corrupt[intact + 80] ^= 1
    fetch = CompletedFetch("t", 0, 0, bytes(corrupt), None)
    assert values(fetch.take(1)) == ["a"]
    with pytest.raises(Unavailable, match="t/0: the batch at offset 1 is corrupt"):
        fetch.take(1)
    assert fetch.position == 1


def test_an_empty_fetch_has_no_records() -> None:
    fetch = CompletedFetch("t", 0, 5, b"", None)
    assert fetch.exhausted
    assert fetch.take(10) == []
    assert fetch.position == 5
