"""Compares the clock of this replica with that of the database, and goes by that one where its own is wrong.

Replicas compare times: the begin of a history by a record that another one wrote, the end of an audit by its begin. A
clock that is minutes ahead would leave out events without a word.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Gauge

from shared.alerts import Alerts
from shared.errors import Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

KIND = "clock"
"""The kind of these alerts."""
_INTERVAL = 10.0
_PAUSE = 1.0
"""Seconds until the next attempt, where one has failed."""
TOLERANCE = 1.0
"""Seconds that a clock may differ from the reference. Clocks that are synchronized differ by some milliseconds."""
_LONGEST_ANSWER = 1.0
"""Seconds. The reference was read at some moment before its answer arrives: a later one tells too little."""


class ReferenceClock:
    """Shows the time of the machine while that is right, else the time of the reference."""

    def __init__(self, machine: Clock) -> None:
        """Use `compare`; until then, this is the clock of the machine."""
        self._machine = machine
        self._ahead: float | None = None
        """By how many seconds the reference is ahead of monotonic time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def time(self) -> float:
        """Return the wall-clock time in seconds since 1970."""
        machine = self._machine.time()
        if self._ahead is None:
            return machine
        reference = self._machine.monotonic() + self._ahead
        return machine if abs(machine - reference) <= TOLERANCE else reference

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; they never decrease."""
        return self._machine.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await self._machine.sleep(seconds)

    async def compare(self, read: Callable[[], Awaitable[float]]) -> float | None:
        """Compare with the reference, which `read` reads, in seconds since 1970.

        Returns the seconds by which the clock of the machine is ahead of it; None if the answer came too late.
        """
        asked = self._machine.monotonic()
        found = await read()
        answered = self._machine.monotonic()
        if answered - asked > _LONGEST_ANSWER:
            return None
        self._ahead = found - (asked + answered) / 2
        return self._machine.time() - (answered + self._ahead)


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
