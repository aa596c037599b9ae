"""Alerts when a part that the service requires is unavailable for longer than a restart of it takes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shared.alerts import Alerts
from shared.http.health import Readiness
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks

KIND = "part unavailable"
"""The kind of these alerts."""

_GRACE_PERIOD = 30.0
"""Seconds a part may be unavailable without an alert: a restart of the broker, or of everything at once."""
_CHECK_INTERVAL = 2.0


class Outages:
    """Since when parts are unavailable, and which of them have an alert. Sans-I/O."""

    def __init__(self, grace_period: float = _GRACE_PERIOD) -> None:
        self._grace_period = grace_period
        self._since: dict[str, float] = {}
        self._alerted: set[str] = set()

    def check(self, missing: Mapping[str, str], now: float) -> tuple[dict[str, str], list[str]]:
        """Return the parts whose alert begins, with the reason, and those whose alert ends."""
        self._since = {part: self._since.get(part, now) for part in missing}
        begun = {
            part: reason
            for part, reason in missing.items()
            if part not in self._alerted and now - self._since[part] >= self._grace_period
        }
        over = sorted(self._alerted - missing.keys())
        self._alerted = (self._alerted | begun.keys()) - set(over)
        return begun, over


@asynccontextmanager
async def alert_on_outages(where: str, readiness: Readiness, alerts: Alerts, clock: Clock) -> AsyncIterator[None]:
    """Alert about the parts that `readiness` requires, for as long as the context lasts; `where` names the service.

    Once for each readiness: services that share one would each alert about the parts of all.
    """
    async with Tasks() as tasks:
        tasks.keep("outages", _watch(where, readiness, alerts, clock))
        yield


async def _watch(where: str, readiness: Readiness, alerts: Alerts, clock: Clock) -> None:
    outages = Outages()
    while True:
        begun, over = outages.check(readiness.missing(), clock.monotonic())
        for part, reason in begun.items():
            alerts.begin(KIND, f"{where}: {part}", reason)
        for part in over:
            alerts.end(KIND, f"{where}: {part}")
        await clock.sleep(_CHECK_INTERVAL)
