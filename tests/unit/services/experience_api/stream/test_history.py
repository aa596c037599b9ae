import pytest

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
    """Blocks of 600 events each, of partition 0 and 1 in turn."""
    past = history(limit)
    for number in range(blocks):
        partition, first = number % 2, number // 2 * 600
        past.extend(batch(first, first + 600, partition))
    return past


def test_the_head_is_what_was_read() -> None:
    past = history()
    past.extend(batch(0, 3))
    past.extend(batch(5, 6, partition=1))
    assert past.head == (3, 6)
    assert past.tail == (0, 0)
    assert (past.first, past.next) == (0, 4)


def test_small_batches_share_a_block() -> None:
    past = history()
    for offset in range(600):
        past.extend(batch(offset, offset + 1))
    first, second = past.block_at(0), past.block_at(599)
    assert first is not None
    assert second is not None
    assert 400 < first.next == second.first
    assert past.block_at(first.next - 1) is first
    assert first.end == second.start == (first.next, 0)


def test_what_is_not_kept_has_no_block() -> None:
    past = filled(limit=200_000)
    assert past.first > 0
    assert past.block_at(past.first - 1) is None
    assert past.block_at(past.next) is None
    block = past.block_at(past.first)
    assert block is not None
    assert block.first == past.first


@pytest.mark.parametrize("limit", [100_000, 250_000, 400_000])
def test_the_bound_holds_and_the_tail_follows(limit: int) -> None:
    past = history(limit)
    for number in range(50):
        past.extend(batch(number * 300, number * 300 + 300))
        assert past.size <= limit
        assert past.head == (number * 300 + 300, 0)
        assert past.tail == (past.first, 0)
    assert past.next == 50 * 300


def test_one_event_above_the_bound_is_kept_alone() -> None:
    past = history(1024)
    past.extend(batch(0, 1, size=100_000))
    past.extend(batch(1, 2, size=100_000))
    assert (past.first, past.next) == (1, 2)


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
def test_the_first_block_that_is_not_below_a_vector(vector: Vector, first: int | None) -> None:
    block = filled().after(vector)
    assert (None if block is None else block.first) == first


def test_offsets_without_an_event_move_the_head_only() -> None:
    past = history()
    past.extend(batch(0, 1))
    past.advance({0: 3, 1: 2})
    past.advance({0: 1})
    assert past.head == (3, 2)
    assert past.next == 1


def test_starting_again_forgets_all_and_repeats_no_number() -> None:
    past = filled()
    other = CursorCodec("f", 1)
    past.restart(other, (7,))
    assert past.codec is other
    assert past.head == past.tail == (7,)
    assert past.first == past.next == 3601  # one stands for what is missing
    assert past.size == 0
    assert past.block_at(0) is None
