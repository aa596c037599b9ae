"""Compares the clock of this replica with that of the database, and reports where they differ."""

import logging
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Gauge

from shared.alerts import Alerts
from shared.errors import Unavailable
from shared.runtime.reference_clock import TOLERANCE, ReferenceClock

logger = logging.getLogger(__name__)

KIND = "clock"
"""The kind of these alerts."""
_INTERVAL = 10.0
_PAUSE = 1.0
"""Seconds until the next attempt, where one has failed."""


class ClockComparison:
    """The comparison of one replica."""

    def __init__(
        self,
        clock: ReferenceClock,
        read: Callable[[], Awaitable[float]],
        alerts: Alerts,
        registry: CollectorRegistry,
        node: str,
    ) -> None:
        """`read` returns the time of the database, in seconds since 1970, and raises `Unavailable`."""
        self._clock = clock
        self._read = read
        self._alerts = alerts
        self._node = node
        self._differs = False
        self._difference = Gauge(
            "trelay_clock_difference_seconds",
            "Seconds by which the clock of this replica is ahead of the clock of the database.",
            registry=registry,
        )

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            await self._clock.sleep(_INTERVAL if await self.compare() else _PAUSE)

    async def compare(self) -> bool:
        """Compare now; return False if the database did not answer, or too late."""
        try:
            difference = await self._clock.compare(self._read)
        except Unavailable:
            return False
        if difference is None:
            return False
        self._difference.set(difference)
        self._report(difference)
        return True

    def _report(self, difference: float) -> None:
        # Reported at twice the difference at which it is over, so that it does not alternate.
        if not self._differs and abs(difference) > 2 * TOLERANCE:
            self._differs = True
            logger.warning("clock differs from that of the database", extra={"difference_s": round(difference, 1)})
            wrong = f"{abs(difference):.1f} s {'ahead of' if difference > 0 else 'behind'}"
            text = f"the clock of this replica is {wrong} that of the database; synchronize it, as with NTP"
            self._alerts.begin(KIND, self._node, text)
        elif self._differs and abs(difference) <= TOLERANCE:
            self._differs = False
            logger.info("clock agrees with that of the database", extra={"difference_s": round(difference, 3)})
            self._alerts.end(KIND, self._node)
