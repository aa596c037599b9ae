"""Heartbeats of subjects that are quiet."""

import random
from typing import Any

import pytest

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.state.changes import Layers
from services.process_api.state.memory import MemoryStore
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping

SCHEDULE: dict[str, Any] = {"schedule": {"quiet": 10}}
SECOND = 1000


def beats(events: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """The subject, the seconds and the count of each heartbeat."""
    found = [each for each in events if each["type"] == "heartbeat"]
    return [(each["subject"], each["data"]["quiet"], each["data"]["count"]) for each in found]


def test_events_pass_and_a_quiet_subject_has_one_heartbeat() -> None:
    bench = Stepping(SCHEDULE)
    (passed,) = bench.send(1, written=0)
    assert passed["data"] == 1
    assert bench.next_due == 10 * SECOND
    assert bench.tick(10 * SECOND - 1) == []
    (made,) = bench.tick(10 * SECOND)
    assert {name: made[name] for name in ("type", "subject", "source", "time", "data")} == {
        "type": "heartbeat",
        "subject": "C-1",
        "source": "/sources/orders",
        "time": "2023-11-14T22:13:30.000Z",
        "data": {"since": "2023-11-14T22:13:20.000Z", "quiet": 10, "count": 1},
    }
    assert bench.tick(60 * SECOND) == []
    assert bench.stored() == 0
    assert bench.next_due is None
    bench.send(2, written=70 * SECOND)
    assert beats(bench.tick(80 * SECOND)) == [("C-1", 10, 1)]


def test_each_event_puts_the_heartbeat_off() -> None:
    bench = Stepping(SCHEDULE)
    for second in range(0, 50, 5):
        bench.send(second, written=second * SECOND)
    assert beats(bench.tick(55 * SECOND - 1)) == []
    assert beats(bench.tick(55 * SECOND)) == [("C-1", 10, 1)]


def test_heartbeats_are_repeated_until_the_next_event() -> None:
    bench = Stepping({"schedule": {"quiet": 10, "times": None, "type": "heartbeat"}})
    bench.send(1, written=0)
    assert beats(bench.tick(35 * SECOND)) == [("C-1", 10, 1)]
    assert beats(bench.due()) == [("C-1", 20, 2)]
    assert beats(bench.due()) == [("C-1", 30, 3)]
    assert bench.due() == []
    bench.send(2, written=37 * SECOND)
    assert beats(bench.tick(46 * SECOND)) == []
    assert beats(bench.tick(47 * SECOND)) == [("C-1", 10, 1)]


def test_parts_of_a_subject_have_heartbeats_of_their_own() -> None:
    bench = Stepping({"schedule": {"quiet": 10, "by": "part"}})
    for part in (1, 2):
        bench.send({"part": part}, written=part * SECOND)
    found = bench.tick(30 * SECOND)
    assert [each["data"]["by"] for each in found] == [[1], [2]]
    assert len({each["id"] for each in found}) == 2


def test_events_that_wait_after_a_restart_prevent_false_heartbeats() -> None:
    bench = Stepping(SCHEDULE)
    bench.send(1, subject="a", written=0)
    bench.send(1, subject="b", written=0)
    bench.now = 600 * SECOND
    bench.begin()
    # The first records are fetched late: until then the partition seems to be at its end.
    assert bench.tick(600 * SECOND) == []
    assert bench.next_due == 605 * SECOND
    assert bench.tick(604 * SECOND) == []
    # Of b there was none until this record of a, so b was quiet then.
    assert beats(bench.send(2, subject="a", written=9 * SECOND)) == []
    assert beats(bench.send(2, subject="a", written=18 * SECOND)) == [("b", 10, 1)]


def test_a_heartbeat_that_is_made_again_has_the_same_id() -> None:
    layers = Layers(MemoryStore())
    bench = Stepping(SCHEDULE, layers)
    bench.send(1, written=0)
    bench.stored()
    (first,) = bench.tick(12 * SECOND)
    layers.open.clear()  # it crashes before the commit
    bench.begin()
    assert bench.tick(20 * SECOND) == []
    (again,) = bench.tick(25 * SECOND)
    assert again == first


def test_a_record_of_another_time_than_the_clocks_puts_no_heartbeat_off_for_good() -> None:
    bench = Stepping(SCHEDULE)
    bench.running.at_record(b"C-1", 10**15, b"orders 1 other")
    bench.step.process(bench.draft(1, subject="C-1"), bench.state)
    bench.running.keep("orders")
    assert beats(bench.tick(10 * SECOND)) == [("C-1", 10, 1)]


@pytest.mark.parametrize("times", [1, 3, None])
def test_random_events_as_a_plain_model(times: int | None, seed: int) -> None:
    rng, bench = random.Random(seed), Stepping({"schedule": {"quiet": 10, "times": times}})
    seen: dict[str, int] = {}
    count: dict[str, int] = {}
    last = 0
    for _ in range(800):
        now = bench.now + rng.choice([0, 100, 1_000, 4_000, 12_000])
        found: list[tuple[str, int, int]] = []
        if rng.random() < 0.6:
            subject = rng.choice("abc")
            found += beats(bench.send(None, subject=subject, written=now))
            last, limit = now, now
            seen[subject], count[subject] = now, 0
        else:
            found += beats(bench.tick(now))
            limit = now if now - last >= 5_000 else -1
        while more := beats(bench.due()):
            found += more
        expected = []
        for subject, at in seen.items():
            while (times is None or count[subject] < times) and at + 10_000 * (count[subject] + 1) <= limit:
                count[subject] += 1
                expected.append((subject, 10 * count[subject], count[subject]))
        assert sorted(found) == sorted(expected)


def test_its_expressions_are_checked_before_they_run() -> None:
    options = PipelineOptions.model_validate({"sources": ["*"], "steps": [{"schedule": {"quiet": 5, "by": "part"}}]})
    assert options.steps[0].expressions() == ["part"]


def test_a_time_that_is_shorter_than_a_restart_is_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 5"):
        PipelineOptions.model_validate({"sources": ["*"], "steps": [{"schedule": {"quiet": 1}}]})
