"""The time of events; `test_aggregate` has what follows from it."""

import pytest

from services.process_api.pipeline.steps.stateful.timing import EventTime, TimedOptions
from services.process_api.state.keys import EVENT_TIMER
from shared.errors import Malformed
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import START, Stepping

ANY = {"latest": {"every": 100}}


def time_of(written: str | None) -> int:
    bench = Stepping(ANY)
    bench.running.at_record(b"", START, b"")
    attributes = {} if written is None else {"time": written}
    return EventTime(TimedOptions()).of(bench.draft(1, **attributes), bench.state) - START


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (None, 0),
        ("2023-11-14T22:13:20Z", 0),
        ("2023-11-14T23:13:19.5+01:00", -500),
        ("2023-11-14T23:13:20Z", 3_600_000),
        ("1970-01-01T00:00:00Z", -START),
        ("1970-01-01T00:00:01.001Z", 1001 - START),
        ("2023-11-14T22:13:19.9999999Z", -1),
    ],
)
def test_the_time_of_an_event(written: str | None, at: int) -> None:
    assert time_of(written) == at


@pytest.mark.parametrize("written", ["2023-11-14T23:13:20.001Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "x"])
def test_times_that_are_none(written: str) -> None:
    with pytest.raises(Malformed, match="`time` is"):
        time_of(written)


def test_the_time_never_goes_back() -> None:
    bench, time = Stepping(ANY), EventTime(TimedOptions(idle=10))
    bench.running.at_record(b"", START + 100, b"")
    assert time.now(bench.state) == 0
    assert time.advance(START + 50, bench.state) == START + 50
    assert time.advance(START + 20, bench.state) == START + 50
    assert time.advance(START + 5000, bench.state) == START + 100
    assert time.pass_idle(bench.state) == START + 100
    bench.now = 60_000
    bench.running.at_no_record()
    assert time.pass_idle(bench.state) == START + 50_000
    assert time.pass_idle(bench.state) == START + 50_000


def test_a_timer_is_due_once_the_time_of_events_has_passed_it() -> None:
    bench, time = Stepping(ANY), EventTime(TimedOptions())
    bench.running.at_record(b"", START + 1000, b"")
    assert not time.is_due(0, bench.state)
    bench.state.set_timer(EVENT_TIMER, START + 100, b"k")
    for at, due in ((50, False), (100, True), (109, True)):
        time.advance(START + at, bench.state)
        assert time.is_due(0, bench.state) is due
    assert not time.is_due(10, bench.state)
    bench.running.at_no_record()
    assert time.is_due(10, bench.state)


@pytest.mark.parametrize("written", [10**15, 10**18, -1])
def test_a_record_of_another_time_than_the_clocks_ends_no_windows(written: int) -> None:
    bench = Stepping({"aggregate": {"window": {"tumbling": 1}, "values": {"n": "count"}}})
    bench.send(1, written=0)
    bench.running.at_record(b"C-1", written, b"orders 1 other")  # of a program that writes microseconds, or no time
    bench.step.process(bench.draft(1, id="other"), bench.state)
    bench.running.keep("orders")
    assert [made["data"]["n"] for made in (*bench.due(), *bench.send(1, at=500, written=500))] == []
    assert [made["data"]["n"] for made in bench.send(1, written=1000)] == [3]
