"""A clock that goes by a reference, such as that of the database, where the clock of this machine is wrong.

Replicas compare times: the begin of a history by a record that another one wrote, the end of an audit by its begin. A
clock that is minutes ahead would leave out events without a word.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from shared.runtime.clock import Clock

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
