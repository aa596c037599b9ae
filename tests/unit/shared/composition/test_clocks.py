import logging
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry

from shared.alerts import RecordingAlerts
from shared.composition.clocks import ClockComparison, ReferenceClock
from shared.errors import Unavailable
from shared.runtime.clock import SystemClock


class Stopped(Exception):
    """The loop has run for as long as the test needs."""


class Steps(SystemClock):
    """A clock that stands still, and whose sleeps are counted."""

    def __init__(self, rounds: int) -> None:
        self.slept: list[float] = []
        self._rounds = rounds

    def time(self) -> float:
        return 1000.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self._rounds:
            raise Stopped


async def test_a_difference_is_reported_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    times = iter([1000.0, 1001.5, 1300.0, 1300.0, 1001.5, 1000.5])
    clock, alerts, registry = Steps(6), RecordingAlerts(), CollectorRegistry()

    async def read() -> float:
        return next(times)

    comparison = ClockComparison(ReferenceClock(clock), read, alerts, registry, "one")
    with pytest.raises(Stopped):
        await comparison.run()
    assert [(call.method, call.place) for call in alerts.calls] == [("begin", "one"), ("end", "one")]
    assert "300.0 s behind that of the database" in alerts.calls[0].text
    messages = [record.message for record in caplog.records]
    assert messages == ["clock differs from that of the database", "clock agrees with that of the database"]
    assert registry.get_sample_value("trelay_clock_difference_seconds") == -0.5
    assert clock.slept == [10.0] * 6


async def test_a_database_that_does_not_answer_is_asked_again_soon() -> None:
    clock, alerts = Steps(2), RecordingAlerts()

    async def read() -> float:
        raise Unavailable("no answer")

    with pytest.raises(Stopped):
        await ClockComparison(ReferenceClock(clock), read, alerts, CollectorRegistry(), "one").run()
    assert clock.slept == [1.0, 1.0]
    assert alerts.calls == []


class Machine(SystemClock):
    """A clock that the test sets, and a reference."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.steady = 50.0
        self.reference = 1_000_000.0
        self.answer_takes = 0.1

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    async def sleep(self, seconds: float) -> None:
        self.passes(seconds)

    def passes(self, seconds: float) -> None:
        self.wall, self.steady, self.reference = self.wall + seconds, self.steady + seconds, self.reference + seconds

    async def read(self) -> float:
        self.passes(self.answer_takes / 2)
        found = self.reference
        self.passes(self.answer_takes / 2)
        return found


async def test_it_is_the_clock_of_the_machine_until_it_is_compared() -> None:
    machine = Machine()
    clock = ReferenceClock(machine)
    assert (clock.time(), clock.monotonic()) == (1_000_000.0, 50.0)
    assert clock.now() == datetime.fromtimestamp(1_000_000, UTC)
    await clock.sleep(2.0)
    assert (clock.time(), clock.monotonic()) == (1_000_002.0, 52.0)


@pytest.mark.parametrize("ahead", [300.0, -300.0, 1.5])
async def test_a_clock_that_is_wrong_goes_by_the_reference(ahead: float) -> None:
    machine = Machine()
    machine.wall += ahead
    clock = ReferenceClock(machine)
    assert await clock.compare(machine.read) == pytest.approx(ahead)
    machine.passes(60.0)
    assert clock.time() == pytest.approx(machine.reference)
    assert clock.now().timestamp() == pytest.approx(machine.reference)
    machine.wall = machine.reference  # it is set right
    assert clock.time() == machine.reference
    machine.wall -= 3600.0  # and wrong again, between two comparisons
    assert clock.time() == pytest.approx(machine.reference)


async def test_a_small_difference_changes_nothing() -> None:
    machine = Machine()
    machine.wall += 0.5
    clock = ReferenceClock(machine)
    assert await clock.compare(machine.read) == pytest.approx(0.5)
    assert clock.time() == machine.wall


async def test_a_late_answer_tells_nothing() -> None:
    machine = Machine()
    machine.wall += 300.0
    machine.answer_takes = 1.5
    clock = ReferenceClock(machine)
    assert await clock.compare(machine.read) is None
    assert clock.time() == machine.wall
