"""What the pipelines have done on one replica."""

from dataclasses import dataclass

from services.process_api.operations.activity import Activities
from shared.events.dead_letter import Reject
from shared.runtime.clock import SystemClock


@dataclass
class Tally:
    taken: int = 0
    published: int = 0
    rejected: int = 0


class SteppedClock(SystemClock):
    at = 100.0

    def monotonic(self) -> float:
        return self.at

    def time(self) -> float:
        return 1_000.0 + self.at


def test_counts_rates_and_the_last_error_of_each_pipeline() -> None:
    clock = SteppedClock()
    activities = Activities(clock)
    clock.at += 10
    first = Reject("1", b"", "steps.0.map: first", "pipeline", "trelay.ingest/0/7", "orders@a")
    last = Reject("2", b"", "steps.0.map: last", "pipeline", "trelay.ingest/0/8", "orders@a")
    activities.committed({"orders": Tally(4, 20, 2), "totals": Tally()}, [first, last])
    found = activities.measure({"orders": "a", "totals": "b"})
    orders = found["orders"]
    assert (orders.version, orders.taken, orders.published, orders.rejected) == ("a", 4, 20, 2)
    assert (orders.published_per_second, orders.rejected_per_second) == (2.0, 0.2)
    assert orders.last_error is not None
    assert (orders.last_error.text, orders.last_error.origin, orders.last_error.at) == (
        "steps.0.map: last", "trelay.ingest/0/8", 1_110.0,
    )  # fmt: skip
    assert (found["totals"].taken, found["totals"].last_error) == (0, None)
