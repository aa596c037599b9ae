"""Tells people when a part that the service cannot work without has been away for longer than a hiccup."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shared.alerts import Alerts
from shared.http.health import Readiness
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks

_PATIENCE = 30.0
"""Seconds a part may be away before anybody hears of it: a restart of the broker, or of everything at once."""
_LOOK_EVERY = 2.0


class Outages:
    """Which parts have been away for how long, and which of those were told of. No I/O."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def look(self, missing: Mapping[str, str], now: float) -> tuple[dict[str, str], list[str]]:
        """Return the parts whose outage is to be told, with the reason, and those that were told of and are back."""
        self._since = {part: self._since.get(part, now) for part in missing}
        begun = {
            part: reason
            for part, reason in missing.items()
            if part not in self._told and now - self._since[part] >= self._patience
        }
        over = sorted(self._told - missing.keys())
        self._told = (self._told | begun.keys()) - set(over)
        return begun, over


@asynccontextmanager
async def outages_told(where: str, readiness: Readiness, alerts: Alerts, clock: Clock) -> AsyncIterator[None]:
    """Watch the parts that `readiness` requires, for as long as the context lasts; `where` is who misses them.

    Whoever makes a readiness does this, once: of services that share one, each would tell of the parts of all.
    """
    async with Tasks() as tasks:
        tasks.keep("outages", _watch(where, readiness, alerts, clock))
        yield


async def _watch(where: str, readiness: Readiness, alerts: Alerts, clock: Clock) -> None:
    outages = Outages()
    while True:
        begun, over = outages.look(readiness.missing(), clock.monotonic())
        for part, reason in begun.items():
            alerts.begin("part missing", f"{where}: {part}", reason)
        for part in over:
            alerts.end("part missing", f"{where}: {part}")
        await clock.sleep(_LOOK_EVERY)
