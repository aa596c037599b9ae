"""Values over windows of time."""

import random
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.stateful import sessions
from services.process_api.pipeline.steps.stateful.windows import Window
from shared.errors import Malformed
from shared.runtime.clock import rfc3339
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import START, Stepping, data_of

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
OFFSET = START % MINUTE


def aggregate(window: Any, **more: Any) -> Any:
    return {"aggregate": {"window": window, "values": {"n": "count", "sum": {"sum": "v"}}, **more}}


def counts(events: list[dict[str, Any]]) -> list[int]:
    return [data["n"] for data in data_of(events)]


def send(bench: Stepping, at: int, value: int = 1, **more: Any) -> list[dict[str, Any]]:
    """Send an event whose time is that of the bus."""
    return bench.send({"v": value}, at=at - OFFSET, written=max(at - OFFSET, bench.now), **more)


def test_a_window_gives_a_result_when_a_later_event_comes() -> None:
    bench = Stepping(aggregate({"tumbling": 60}))
    assert send(bench, 0, 5) == []
    assert send(bench, 59_999, 7) == []
    [made] = send(bench, MINUTE)
    start = START - OFFSET
    assert made["data"] == {
        "start": rfc3339(start / 1000),
        "end": rfc3339((start + MINUTE) / 1000),
        "final": True,
        "n": 2,
        "sum": 12,
    }
    assert (made["type"], made["subject"], made["source"]) == ("aggregate", "C-1", "/sources/orders")
    assert made["id"].startswith("orders:")
    assert made["id"].endswith(f":{start}")


def test_results_have_ids_of_their_own() -> None:
    bench = Stepping(aggregate({"tumbling": 60}, by="v"))
    for value in (1, 2):
        for subject in ("a", "b"):
            send(bench, 0, value, subject=subject)
    made = send(bench, MINUTE, subject="c")
    assert len({each["id"] for each in made}) == len(made) == 4
    assert sorted((each["subject"], each["data"]["by"]) for each in made) == [
        ("a", [1]),
        ("a", [2]),
        ("b", [1]),
        ("b", [2]),
    ]


def test_an_event_behind_is_counted_within_the_lateness_and_rejected_beyond() -> None:
    bench = Stepping(aggregate({"tumbling": 60}, lateness=30))
    send(bench, 0)
    assert send(bench, 80 * SECOND) == []
    assert send(bench, 59 * SECOND) == []
    assert counts(send(bench, 90 * SECOND)) == [2]
    with pytest.raises(Malformed, match=r"late: the event's time .* is 31\.000 s behind .*`lateness` allows 30 s"):
        send(bench, 59 * SECOND)
    assert counts(send(bench, 10 * MINUTE)) == [2]


def test_an_event_of_the_year_9999_closes_no_window() -> None:
    bench = Stepping(aggregate({"tumbling": 60}))
    send(bench, 0)
    with pytest.raises(Malformed, match=r"`time` is 9999-12-31T23:59:59Z, \d+ s after the event was written"):
        bench.send({"v": 1}, time="9999-12-31T23:59:59Z")
    with pytest.raises(Malformed, match="expected a time since 1970"):
        bench.send({"v": 1}, time="1969-12-31T23:59:59Z")
    assert bench.tick(10 * MINUTE) == []
    assert send(bench, 59 * SECOND) == []


def test_an_event_ahead_of_the_bus_is_in_its_window_and_closes_none() -> None:
    bench = Stepping(aggregate({"tumbling": 60}))
    send(bench, 0)
    assert bench.send({"v": 3}, at=30 * MINUTE - OFFSET, written=SECOND) == []
    assert counts(send(bench, MINUTE)) == [1]
    made = data_of(send(bench, 40 * MINUTE))
    assert [data["sum"] for data in made] == [1, 3]


def test_an_event_without_a_time_has_that_of_the_bus() -> None:
    bench = Stepping(aggregate({"tumbling": 60}))
    bench.send({"v": 1}, written=0)
    assert counts(bench.send({"v": 1}, written=2 * MINUTE)) == [1]


def test_windows_close_by_the_clock_only_where_idle_says_so() -> None:
    bench = Stepping(aggregate({"tumbling": 60}))
    send(bench, 0)
    assert bench.next_due is None
    assert bench.tick(HOUR) == []
    bench = Stepping(aggregate({"tumbling": 60}, idle=20, lateness=5))
    send(bench, 0)
    assert bench.next_due is not None
    assert bench.tick(bench.next_due - 1) == []
    assert counts(bench.tick(bench.next_due)) == [1]
    assert bench.next_due is None
    with pytest.raises(Malformed, match="late"):
        send(bench, SECOND)


def test_the_idle_time_begins_with_the_last_event() -> None:
    bench = Stepping(aggregate({"tumbling": 60}, idle=20))
    bench.send({"v": 1}, at=-10 * MINUTE, written=0)
    assert bench.next_due == 20 * SECOND
    assert bench.tick(19_999) == []
    assert counts(bench.tick(20_000)) == [1]


@pytest.mark.parametrize("idle", [None, 20])
def test_windows_that_one_call_leaves_are_due_at_once(idle: int | None) -> None:
    bench = Stepping(aggregate({"tumbling": 60}, idle=idle))
    for number in range(250):
        send(bench, 0, subject=f"s{number}")
    assert counts(send(bench, MINUTE, subject="s0")) == [1] * 100
    left = []
    while bench.next_due is not None and bench.next_due <= bench.now:
        left.append(len(bench.tick(bench.now)))
    assert left == [100, 50]
    assert bench.next_due == (None if idle is None else 2 * MINUTE - OFFSET + 20 * SECOND)


def test_the_idle_time_does_not_begin_with_the_end_of_the_lateness() -> None:
    bench = Stepping(aggregate({"tumbling": 60}, idle=20, lateness=120))
    bench.send({"v": 1}, at=-10 * MINUTE, written=0)
    assert bench.next_due == 20 * SECOND
    assert bench.tick(19_999) == []
    assert counts(bench.tick(20_000)) == [1]


def test_early_results_follow_changes() -> None:
    bench = Stepping(aggregate({"tumbling": 3600}, early=10))
    send(bench, 0)
    assert bench.next_due == 10 * SECOND
    [made] = bench.tick(10 * SECOND)
    assert (made["data"]["final"], made["data"]["n"], made["id"][-2:]) == (False, 1, "/1")
    assert bench.tick(60 * SECOND) == []
    bench.send({"v": 1}, at=0, written=70 * SECOND)
    assert bench.tick(79 * SECOND) == []
    [made] = bench.tick(80 * SECOND)
    assert (made["data"]["n"], made["id"][-2:]) == (2, "/2")
    bench.send({"v": 1}, at=0, written=81 * SECOND)
    [made] = send(bench, 3 * HOUR)
    assert (made["data"]["final"], made["data"]["n"]) == (True, 3)
    bench.now = 82 * SECOND
    bench.begin()
    # The window that begins there was changed when the clock was ahead.
    assert [made["data"]["final"] for made in bench.tick(82 * SECOND)] == [False]
    assert counts(send(bench, 5 * HOUR)) == [1]


@pytest.mark.parametrize("window", [{"tumbling": 60}, {"session": 60}])
def test_early_results_of_many_windows_after_a_clock_that_was_ahead(window: Any) -> None:
    bench = Stepping(aggregate(window, early=3600))
    for number in range(250):
        bench.send({"v": 1}, at=-OFFSET, written=HOUR, subject=f"s{number}")
    bench.now = 0
    bench.begin()
    assert counts(bench.tick(1)) == [1] * 100
    made = bench.send({"v": 1}, at=MINUTE - OFFSET, written=HOUR)
    while more := bench.due():
        made += more
    assert len({each["subject"] for each in made if each["data"]["final"]}) == 250


@pytest.mark.parametrize("window", [{"tumbling": 60}, {"sliding": 60, "every": 20}, {"session": 15}])
def test_an_event_is_as_late_as_it_may_be(window: Any) -> None:
    bench = Stepping(aggregate(window, lateness=40))
    send(bench, MINUTE, subject="other")
    send(bench, 20 * SECOND)
    made = send(bench, HOUR)
    assert ("C-1", 1) in {(each["subject"], each["data"]["n"]) for each in made}


def test_a_member_of_every_result_is_no_name() -> None:
    with pytest.raises(ValidationError, match="'final' is a member of every result"):
        TypeAdapter(AnyStep).validate_python({"aggregate": {"window": {"tumbling": 1}, "values": {"final": "count"}}})


@pytest.mark.parametrize(
    ("window", "few", "later"),
    [
        ({"tumbling": 60}, 8, 8),
        ({"sliding": 60, "every": 20}, 8, 8),
        ({"session": 15}, 0, 0),
        ({"session": 15}, 1, 1),
        ({"session": 1}, 8, 8),
        pytest.param({"session": 1}, 10**6, 8, id="as an earlier release at first"),
    ],
)
def test_random_events_as_a_plain_model(
    window: Any, few: int, later: int, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever the order of events within the lateness, and wherever runs begin, each window gives one right result."""
    rng, lateness = random.Random(seed), 40
    bench = Stepping(aggregate(window, lateness=lateness))
    spans = Window.model_validate(window).spans
    events: dict[str, list[tuple[int, int]]] = {}
    made: list[dict[str, Any]] = []
    clock = 0
    for number in range(400):
        monkeypatch.setattr(sessions, "_FEW", few if number < 200 else later)
        clock += rng.choice([0, SECOND, 5 * SECOND, 30 * SECOND])
        at, subject, value = max(0, clock - rng.randrange(60 * SECOND)), rng.choice("abc"), rng.randrange(100)
        try:
            made += bench.send({"v": value}, at=at, written=clock, subject=subject)
        except Malformed:
            assert at < clock - lateness * SECOND
        else:
            events.setdefault(subject, []).append((at, value))
        bench.transact(rng)
        if rng.random() < 0.05:
            bench.begin()
    made += bench.send({"v": 0}, at=clock + 2 * HOUR, written=clock + 2 * HOUR, subject="z")
    while more := bench.due():
        made += more
    found = sorted((each["subject"], each["data"]["start"], each["data"]["n"], each["data"]["sum"]) for each in made)
    assert len({each["id"] for each in made}) == len(made)
    if spans.gap:
        assert found == sorted(_sessions(events, spans.gap))
        return
    # An event that was late for some of its sliding windows is in the others only.
    total = {subject: sum(value for _, value in mine) for subject, mine in events.items()}
    most = -(-spans.size // spans.step)
    assert sum(each[3] for each in found) <= most * sum(total.values())
    if most == 1:
        expected: dict[tuple[str, str], list[int]] = {}
        for subject, mine in events.items():
            for at, value in mine:
                [span] = spans.of(START + at)
                expected.setdefault((subject, rfc3339(span.start / 1000)), []).append(value)
        assert found == sorted((*key, len(values), sum(values)) for key, values in expected.items())


def _sessions(events: dict[str, list[tuple[int, int]]], gap: int) -> list[tuple[str, str, int, int]]:
    found = []
    for subject, mine in events.items():
        group: list[tuple[int, int]] = []
        for at, value in sorted(mine):
            if group and at - group[-1][0] >= gap:
                found.append((subject, group))
                group = []
            group.append((at, value))
        found.append((subject, group))
    return [
        (subject, rfc3339((START + group[0][0]) / 1000), len(group), sum(value for _, value in group))
        for subject, group in found
    ]
