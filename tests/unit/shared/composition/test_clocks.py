import logging

import pytest
from prometheus_client import CollectorRegistry

from shared.alerts import RecordingAlerts
from shared.composition.clocks import ClockComparison
from shared.errors import Unavailable
from shared.runtime.clock import SystemClock
from shared.runtime.reference_clock import ReferenceClock


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
