"""What watermarks wait for, and the channels for which they hold."""

from typing import Any

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.watermarks.waiting import WaitingMarks, channels_for, parts_of
from shared.events.watermark import Watermark
from tests.unit.services.process_api.making import pipeline


def mark(as_of: int, *ends: int, source: str = "orders", epoch: str = "e") -> Watermark:
    return Watermark(source, as_of, "trelay.ingest", epoch, list(ends))


def passed(marks: WaitingMarks) -> list[tuple[str, int]]:
    return [(waiting.mark.source, waiting.mark.as_of) for waiting in marks.passed()]


def test_it_waits_for_every_partition() -> None:
    marks = WaitingMarks()
    marks.add(mark(1, 5, 0, 3))
    assert marks.unknown() == [0, 2]
    marks.processed({0: 5, 2: 2})
    assert passed(marks) == []
    assert marks.unknown() == [2]
    marks.processed({2: 3})
    assert passed(marks) == [("orders", 1)]
    assert marks.unknown() == []


def test_a_rewind_does_not_undo_what_was_processed() -> None:
    marks = WaitingMarks()
    marks.add(mark(1, 5))
    marks.processed({0: 5})
    marks.processed({0: 2})
    assert passed(marks) == [("orders", 1)]


def test_the_one_that_is_waited_for_is_kept_and_of_the_others_the_newest() -> None:
    marks = WaitingMarks()
    for as_of in (1, 2, 3):
        marks.add(mark(as_of, as_of * 10))
    marks.processed({0: 10})
    [waiting] = marks.passed()
    marks.end(waiting)
    assert passed(marks) == []
    marks.processed({0: 30})
    assert passed(marks) == [("orders", 3)]
    marks.end(marks.passed()[0])
    assert passed(marks) == []


def test_sources_do_not_wait_for_each_other() -> None:
    marks = WaitingMarks()
    marks.add(mark(1, 50))
    marks.add(mark(2, 5, source="stock"))
    marks.processed({0: 9})
    assert passed(marks) == [("stock", 2)]


def test_it_goes_on_for_the_next_part() -> None:
    marks = WaitingMarks()
    marks.add(mark(1, 5))
    marks.processed({0: 5})
    [waiting] = marks.passed()
    assert waiting.parts == 1
    marks.go_on(waiting, [8])
    assert passed(marks) == []
    marks.processed({0: 8})
    [waiting] = marks.passed()
    assert (waiting.parts, waiting.mark.as_of) == (2, 1)


def test_offsets_of_a_topic_that_was_recreated_are_forgotten() -> None:
    marks = WaitingMarks()
    marks.add(mark(1, 5))
    marks.processed({0: 100})
    marks.add(mark(2, 5, epoch="f"))
    assert passed(marks) == []
    assert marks.unknown() == [0]


HOLDING = {"latest": {"every": 60}}
DEDUPE = {"dedupe": {"within": 60}}


def on(channel: str | None, *steps: Any) -> Pipeline:
    return pipeline(*steps, channel=channel)


def test_a_watermark_holds_for_the_channels_that_are_certain() -> None:
    assert channels_for([on("b"), on("a"), on(None)]) == ["a", "b"]
    assert channels_for([]) == []


def test_it_does_not_hold_where_a_pipeline_may_keep_an_event_for_later() -> None:
    assert channels_for([on("a"), on("b"), on("b", HOLDING)]) == ["a"]
    assert channels_for([on("a"), on("b", DEDUPE)]) == ["a", "b"]
    assert channels_for([on("a"), on("b", HOLDING, {"route": "n"})]) == []


def test_it_waits_for_the_pipeline_with_the_most_parts() -> None:
    assert parts_of([]) == 1
    assert parts_of([on("a"), on("b", {"repartition": "n"}, {"repartition": "m"})]) == 3
