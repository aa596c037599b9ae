"""The hold of a partition."""

from services.process_api.operations.hold import Hold
from services.process_api.pipeline.steps.outcome import Blocked

BLOCKED = Blocked("no answer", "steps.0.enrich")


def test_the_time_is_counted_from_the_beginning_to_the_end() -> None:
    hold = Hold()
    assert hold.passed(5) is None
    hold.begin(BLOCKED, 10)
    assert hold.passed(12) == (BLOCKED, 2)
    hold.begin(BLOCKED, 13)
    assert hold.passed(16) == (BLOCKED, 4)
    hold.end()
    assert hold.passed(20) is None


def test_the_waits_grow_up_to_a_limit() -> None:
    hold = Hold()
    waits = []
    for _ in range(100):
        hold.begin(BLOCKED, 0)
        waits.append((hold.wait(0), hold.wait(1)))
    assert waits[:3] == [(0.05, 0.1), (0.1, 0.2), (0.2, 0.4)]
    assert waits[-1] == (2.5, 5)
    hold.end()
    hold.begin(BLOCKED, 0)
    assert hold.wait(1) == 0.1
