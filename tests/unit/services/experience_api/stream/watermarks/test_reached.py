"""Which watermarks hold."""

from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.watermarks.reached import PENDING, Reached
from services.experience_api.wire.cursor import CursorCodec
from shared.events.watermark import Watermark


def history(*head: int) -> History:
    return History(CursorCodec("e", len(head)), head, HistoryOptions())


def mark(as_of: int, *ends: int, source: str = "orders", epoch: str = "e") -> Watermark:
    return Watermark(source, as_of, "trelay.publish", epoch, list(ends), ["orders"])


def held(reached: Reached) -> list[tuple[str, int]]:
    return [(each.source, each.as_of) for each in reached.all()]


def test_it_holds_once_every_partition_is_read_up_to_it() -> None:
    read = history(0, 0)
    reached = Reached(read)
    reached.add(mark(7, 3, 5))
    assert held(reached) == []
    read.advance({0: 9, 1: 4})
    assert held(reached) == []
    read.advance({1: 5})
    assert held(reached) == held(reached) == [("orders", 7)]


def test_one_that_holds_does_not_wait_for_a_newer_one() -> None:
    reached = Reached(history(4))
    reached.add(mark(7, 3))
    reached.add(mark(17, 9))
    assert held(reached) == [("orders", 7)]


def test_the_newest_of_each_source_counts() -> None:
    reached = Reached(history(4))
    for each in (mark(7, 1), mark(9, 2), mark(8, 3), mark(5, 1, source="stock")):
        reached.add(each)
    assert held(reached) == [("orders", 9), ("stock", 5)]


def test_one_of_a_topic_that_was_recreated_never_holds() -> None:
    reached = Reached(history(4))
    reached.add(mark(7, 3, epoch="before"))
    assert held(reached) == []
    reached.add(mark(8, 3))
    assert held(reached) == [("orders", 8)]


def test_one_of_a_topic_that_is_not_read_yet_waits() -> None:
    read = history(4)
    reached = Reached(read)
    reached.add(mark(8, 3, epoch="next"))
    assert held(reached) == []
    read.restart(CursorCodec("next", 1), (3,))
    assert held(reached) == [("orders", 8)]


def test_those_that_wait_are_bounded() -> None:
    read = history(0)
    reached = Reached(read)
    for number in range(1, PENDING + 5):
        reached.add(mark(number, number))
    read.advance({0: 1})
    assert held(reached) == [("orders", 1)]
    read.advance({0: 100})
    assert held(reached) == [("orders", PENDING + 4)]
