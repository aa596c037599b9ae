"""When an outage is told, and when its end."""

import asyncio

from shared.alerts import RecordingAlerts
from shared.alerts.outages import Outages, outages_told
from shared.http.health import Readiness
from shared.runtime.clock import SystemClock


def test_only_what_lasts_is_told_once_and_its_end_once() -> None:
    outages = Outages(30)
    assert outages.look({"bus": "refused"}, 0) == ({}, [])
    assert outages.look({"bus": "refused"}, 29) == ({}, [])
    assert outages.look({"bus": "timeout", "database": "refused"}, 30) == ({"bus": "timeout"}, [])
    assert outages.look({"bus": "timeout", "database": "refused"}, 50) == ({}, [])
    assert outages.look({"database": "refused"}, 51) == ({}, ["bus"])
    assert outages.look({}, 52) == ({}, [])


def test_a_hiccup_begins_anew() -> None:
    outages = Outages(30)
    for now in range(0, 300, 20):
        assert outages.look({"bus": "refused"}, now) == ({}, [])
        assert outages.look({}, now + 10) == ({}, [])


class Hurried(SystemClock):
    def __init__(self) -> None:
        self.at = 0.0
        self.looks = 0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.looks += 1
        await asyncio.sleep(0)


async def test_people_are_told() -> None:
    readiness, alerts, clock = Readiness(), RecordingAlerts(), Hurried()
    readiness.require("bus")
    async with asyncio.timeout(10), outages_told("system", readiness, alerts, clock):
        while clock.looks < 30:
            await asyncio.sleep(0)
        assert [(told.what, told.kind, told.place, told.text) for told in alerts.told] == [
            ("begin", "part missing", "system: bus", "not connected yet")
        ]
        readiness.report("bus", None)
        while alerts.open:
            await asyncio.sleep(0)
