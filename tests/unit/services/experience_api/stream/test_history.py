import gc

import pytest

from services.experience_api.stream import history as history_module
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.records import Batch, FrameEncoder
from tests.unit.services.experience_api.records import record

CODEC = CursorCodec("e", 2)


def history(limit: int = 10_000_000) -> History:
    return History(CODEC, (0, 0), HistoryOptions(limit_bytes=limit))


def batch(first: int, last: int, partition: int = 0, size: int = 0) -> Batch:
    value = b'{"d":"%b"}' % (b"x" * size)
    records = [record("a", offset, partition, value=value) for offset in range(first, last)]
    [only] = FrameEncoder(CODEC, (0, 0)).batches(records)
    return only


def filled(limit: int = 10_000_000, blocks: int = 6) -> History:
    """Return a history with blocks of 600 events, alternately of partition 0 and 1."""
    ring = history(limit)
    for number in range(blocks):
        partition, first = number % 2, number // 2 * 600
        ring.extend(batch(first, first + 600, partition))
    return ring


def test_the_head_is_the_offsets_read() -> None:
    ring = history()
    ring.extend(batch(0, 3))
    ring.extend(batch(5, 6, partition=1))
    assert ring.head == (3, 6)
    assert ring.tail == (0, 0)
    assert (ring.first, ring.next) == (0, 4)


def test_small_batches_share_a_block() -> None:
    ring = history()
    for offset in range(600):
        ring.extend(batch(offset, offset + 1))
    first, second = ring.block_at(0), ring.block_at(599)
    assert first is not None
    assert second is not None
    assert 400 < first.next == second.first
    assert ring.block_at(first.next - 1) is first
    assert first.end == second.start == (first.next, 0)


def test_an_event_that_is_not_in_memory_has_no_block() -> None:
    ring = filled(limit=200_000)
    assert ring.first > 0
    assert ring.block_at(ring.first - 1) is None
    assert ring.block_at(ring.next) is None
    block = ring.block_at(ring.first)
    assert block is not None
    assert block.first == ring.first


@pytest.mark.parametrize("limit", [100_000, 250_000, 400_000])
def test_the_limit_holds_and_the_tail_follows(limit: int) -> None:
    ring = history(limit)
    for number in range(50):
        ring.extend(batch(number * 300, number * 300 + 300))
        assert ring.size <= limit
        assert ring.head == (number * 300 + 300, 0)
        assert ring.tail == (ring.first, 0)
    assert ring.next == 50 * 300


class Who:
    """Those who receive some events."""


def test_a_block_considers_each_event_once_for_all_who_receive_the_same() -> None:
    ring, who, considered = history(), Who(), 0

    def receives(_channel: bytes, frame: bytes) -> bool:
        nonlocal considered
        considered += 1
        return frame is frames[3] or frame is frames[-1]

    ring.extend(batch(0, 5))
    block = ring.block_at(0)
    assert block is not None
    frames = block.frames
    for expected in ([3, 4], [3, 4]):
        assert block.select(who, receives) == expected
    assert considered == 5
    ring.extend(batch(5, 10))
    assert block.select(who, receives) == [3, 4, 9]
    assert considered == 10
    del who
    gc.collect()
    assert len(block.selected) == 0


@pytest.mark.parametrize(("selections", "rows", "kept"), [(1, 100, 1), (100, 4, 1), (100, 5, 2), (0, 100, 0)])
def test_a_block_keeps_few_selections(selections: int, rows: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "_SELECTIONS_LIMIT", selections)
    monkeypatch.setattr(history_module, "_SELECTED_LIMIT", rows)
    ring, everybody = history(), [Who() for _ in range(3)]
    ring.extend(batch(0, 4))
    block = ring.block_at(0)
    assert block is not None
    assert [block.select(who, lambda *_: True) for who in everybody] == [[0, 1, 2, 3]] * 3
    assert len(block.selected) == kept


def test_one_event_above_the_limit_is_kept_alone() -> None:
    ring = history(1024)
    ring.extend(batch(0, 1, size=100_000))
    ring.extend(batch(1, 2, size=100_000))
    assert (ring.first, ring.next) == (1, 2)


@pytest.mark.parametrize(
    ("vector", "first"),
    [
        ((0, 0), 0),
        ((599, 0), 0),
        ((600, 0), 600),
        ((600, 599), 600),
        ((600, 600), 1200),
        ((5000, 0), 600),
        ((0, 5000), 0),
        ((1800, 1800), None),
        ((9999, 9999), None),
    ],
)
def test_the_first_block_at_or_above_a_vector(vector: Vector, first: int | None) -> None:
    block = filled().after(vector)
    assert (None if block is None else block.first) == first


def test_offsets_without_an_event_advance_the_head_only() -> None:
    ring = history()
    ring.extend(batch(0, 1))
    ring.advance({0: 3, 1: 2})
    ring.advance({0: 1})
    assert ring.head == (3, 2)
    assert ring.next == 1


def test_a_restart_drops_everything_and_repeats_no_number() -> None:
    ring = filled()
    other = CursorCodec("f", 1)
    ring.restart(other, (7,))
    assert ring.codec is other
    assert ring.head == ring.tail == (7,)
    assert ring.first == ring.next == 3601  # one number is skipped
    assert ring.size == 0
    assert ring.block_at(0) is None
