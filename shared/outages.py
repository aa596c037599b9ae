"""Tells people when a part that the service cannot work without has been away for longer than a hiccup."""

from collections.abc import Mapping

from shared.alerts import Alerts
from shared.clock import Clock
from shared.health import Readiness

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


async def tell_outages(service: str, readiness: Readiness, alerts: Alerts, clock: Clock) -> None:
    """Watch the parts that `readiness` requires, for ever; `service` is who misses them."""
    outages = Outages()
    while True:
        begun, over = outages.look(readiness.missing(), clock.monotonic())
        for part, reason in begun.items():
            alerts.begin("part missing", f"{service}: {part}", reason)
        for part in over:
            alerts.end("part missing", f"{service}: {part}")
        await clock.sleep(_LOOK_EVERY)
