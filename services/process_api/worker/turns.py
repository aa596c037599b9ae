"""Lets other tasks run between the events of a batch: the bus's heartbeats, and the other partitions."""

from shared.runtime.clock import Clock
from shared.suspension.greenlets import resumed

YIELD_AFTER = 0.01
"""Seconds after which other tasks run, the bus's heartbeats among them."""

SLEEP_AFTER_SLOW = 0.05
"""Seconds that other tasks get after a slow slice: a heartbeat takes one round trip, a commit several."""

_SLOW_SECONDS = 0.25


class Turns:
    """The turns of one batch whose steps wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = self._yielded_at = clock.monotonic()
        self._took = 0.0
        self._resumed = resumed()
        self.longest = 0.0
        """The longest time in seconds that one event took of the event loop, as far as known."""

    def due(self) -> bool:
        """Note that an event is done; return whether other tasks have to run now: then await `rest`."""
        now = self._clock.monotonic()
        if (number := resumed()) != self._resumed:
            # The event waited for an evaluation apart, or for its turn: other tasks ran meanwhile.
            self._resumed, self._last, self._yielded_at = number, now, now
        took = self._took = now - self._last
        self.longest = max(self.longest, took)
        self._last = now
        return now - self._yielded_at > YIELD_AFTER

    async def rest(self) -> None:
        """Let other tasks run."""
        await self._clock.sleep(SLEEP_AFTER_SLOW if self._took > _SLOW_SECONDS else 0)
        self._last = self._yielded_at = self._clock.monotonic()

    async def breathe(self) -> None:
        """Let other tasks run, if it is time; `due` and `rest` in one, for what is done less often."""
        if self.due():
            await self.rest()

    def waited(self) -> None:
        """Note that the time since the last call was spent in waiting, in which other tasks ran."""
        self._last = self._yielded_at = self._clock.monotonic()
