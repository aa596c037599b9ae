"""Watermarks as records."""

import pytest

from shared.bus.memory.log import MemoryRecord
from shared.errors import Malformed
from shared.events.watermark import Watermark, read_watermark, vector, watermarks_about

MARK = Watermark("orders", 1_700_000_000_250, "trelay.publish", "e", [3, 0, 5], ["orders.eu"])


def test_it_is_read_as_it_was_written() -> None:
    record = MARK.record()
    assert record.key == b"orders"
    assert read_watermark(record.value) == MARK


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b'{"source": 1}', b'{"source":"\xff"}'], ids=range(6))
def test_what_is_none_is_refused(value: bytes | None) -> None:
    with pytest.raises(Malformed, match="watermark: "):
        read_watermark(value)


@pytest.mark.parametrize("as_of", [-1, 10**15, 10**26])
def test_a_time_that_no_clock_shows_is_refused(as_of: int) -> None:
    value = (MARK.record().value or b"").replace(b"1700000000250", b"%d" % as_of)
    with pytest.raises(Malformed, match="as_of"):
        read_watermark(value)


def test_what_a_newer_release_adds_is_ignored() -> None:
    assert read_watermark((MARK.record().value or b"")[:-1] + b',"more":1}') == MARK


def test_those_about_another_topic_and_what_cannot_be_read_are_left_out() -> None:
    other = Watermark("orders", 1, "trelay.ingest", "e", [1])
    values = [other.record().value, b"{", MARK.record().value]
    records = [
        MemoryRecord("trelay.watermarks", 0, place, 0, b"orders", value, ()) for place, value in enumerate(values)
    ]
    assert list(watermarks_about("trelay.publish", records)) == [MARK]


def test_it_is_passed_by_positions_at_all_ends_or_behind() -> None:
    assert MARK.passed_by({0: 3, 2: 9})
    assert MARK.passed_by({0: 3, 1: 0, 2: 5})
    assert not MARK.passed_by({0: 2, 1: 9, 2: 9})
    assert not MARK.passed_by({0: 9, 1: 9})


def test_offsets_by_partition_are_a_list() -> None:
    assert vector({1: 7, 0: 5}) == [5, 7]


@pytest.mark.parametrize(
    ("as_of", "written", "found"),
    [(7, 0, 7), (10, 50, 10), (11, 9, 9), (11, 10, 10), (11, 50, 10), (11, -1, 10), (10**12, 2**62, 10)],
)
def test_its_time_is_not_ahead_of_the_readers_clock(as_of: int, written: int, found: int) -> None:
    mark = Watermark("orders", as_of, "trelay.publish", "e", [3])
    assert mark.bounded(written, 10).as_of == found
