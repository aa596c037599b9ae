import random

from tests.e2e.feeding import Upstream
from tests.e2e.several_brokers.marks import false_marks, fresh
from tests.e2e.subscribing import Mark, RecordingSubscriber


def upstream(*times: tuple[float, int]) -> Upstream:
    return Upstream(random.Random(1), times=list(times))


def subscriber(*marks: Mark) -> RecordingSubscriber:
    return RecordingSubscriber("", "s-1", "", marks=list(marks))


def test_a_watermark_is_false_if_less_had_come_than_was_written_before_it() -> None:
    written = {"orders": [upstream((10.0, 3), (20.0, 5)), upstream((15.0, 2))]}
    true = [Mark("orders", 10.0, 0), Mark("orders", 12.0, 3), Mark("orders", 16.0, 5), Mark("other", 99.0, 0)]
    assert list(false_marks([subscriber(*true)], written)) == []
    found = list(false_marks([subscriber(Mark("orders", 30.0, 6))], written))
    assert found == ["s-1: watermark of orders as of 30.0: 6 events before it, expected 7"]


async def test_a_watermark_behind_all_that_was_written_is_fresh() -> None:
    await fresh([subscriber(Mark("orders", 21.0, 7))], {"orders": [upstream((20.0, 5)), upstream()]}, 1.0)
