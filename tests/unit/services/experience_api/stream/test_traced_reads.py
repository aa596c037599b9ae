from collections.abc import Iterable
from typing import cast

from services.experience_api.hub.hub import HubCounts
from services.experience_api.stream.traced_reads import traced_reads
from shared.telemetry.parents import Valued
from shared.telemetry.tracing import NoTracing, Tracing
from tests.unit.services.experience_api.records import record


class Recording(NoTracing):
    def __init__(self) -> None:
        super().__init__()
        self.frames: list[int] = []

    def delivered(self, _topic: str, _records: Iterable[Valued], frames: int, _seconds: float) -> None:
        self.frames.append(frames)


def test_the_frames_of_each_read_are_counted() -> None:
    tracing, counts = Recording(), HubCounts()
    delivered = traced_reads(cast("Tracing", tracing), "trelay.publish", counts, lambda _: None)
    for deliveries in (3, 3, 10):
        counts.deliveries = deliveries
        delivered([], 0.1)
    assert tracing.frames == [3, 0, 7]


def test_the_first_record_of_each_read_is_reported() -> None:
    firsts: list[int] = []
    delivered = traced_reads(cast("Tracing", Recording()), "t", HubCounts(), lambda each: firsts.append(each.offset))
    delivered([record("a", 4), record("a", 5)], 0.1)
    delivered([], 0.1)
    delivered([record("a", 6)], 0.1)
    assert firsts == [4, 6]
