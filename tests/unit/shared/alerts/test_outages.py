"""When alerts about outages begin and end."""

import asyncio

from shared.alerts import RecordingAlerts
from shared.alerts.outages import KIND, Outages, alert_on_outages
from shared.http.health import Readiness
from shared.runtime.clock import SystemClock


def test_an_outage_beyond_the_grace_period_begins_and_ends_one_alert() -> None:
    outages = Outages(30)
    assert outages.check({"bus": "refused"}, 0) == ({}, [])
    assert outages.check({"bus": "refused"}, 29) == ({}, [])
    assert outages.check({"bus": "timeout", "database": "refused"}, 30) == ({"bus": "timeout"}, [])
    assert outages.check({"bus": "timeout", "database": "refused"}, 50) == ({}, [])
    assert outages.check({"database": "refused"}, 51) == ({}, ["bus"])
    assert outages.check({}, 52) == ({}, [])


def test_each_short_outage_has_a_grace_period_of_its_own() -> None:
    outages = Outages(30)
    for now in range(0, 300, 20):
        assert outages.check({"bus": "refused"}, now) == ({}, [])
        assert outages.check({}, now + 10) == ({}, [])


class SkippingClock(SystemClock):
    def __init__(self) -> None:
        self.at = 0.0
        self.sleeps = 0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.sleeps += 1
        await asyncio.sleep(0)


async def test_an_outage_is_alerted() -> None:
    readiness, alerts, clock = Readiness(), RecordingAlerts(), SkippingClock()
    readiness.require("bus")
    async with asyncio.timeout(60), alert_on_outages("system", readiness, alerts, clock):
        while clock.sleeps < 30:
            await asyncio.sleep(0)
        assert alerts.calls == [("begin", KIND, "system: bus", "not connected yet")]
        readiness.report("bus", None)
        while alerts.open:
            await asyncio.sleep(0)
