"""Ends what a replica left open that was killed while it decided on dead letters, or while it asked for a rewind.

Readers of a partition wait for an open transaction there. On Kafka, that of a killed process is open until its timeout,
30 seconds by default, unless another process opens the writer. For a partition of the ingest topic, the next owner does
so at once. Nobody owns the dead letters and the requests of operators, so each replica does it when it starts, and when
it gets a partition: the replica that had it may have been killed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection

from shared.bus.protocol import Bus
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import Clock

_PAUSE = 5.0
"""Seconds between two times: a rebalance moves many partitions at once."""

Settle = Callable[[Bus], Awaitable[None]]
"""Ends what is open. May raise `Unavailable`, and `Fenced`: then another replica does the same work, which ends it."""


class Settling:
    """Settles what is open when it is asked to."""

    def __init__(self, settle: Collection[Settle], clock: Clock) -> None:
        """All of `settle` are called each time, one after the other."""
        self._settle = settle
        self._clock = clock
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Ask for it: another replica may have been killed."""
        self._requested.set()

    async def run(self, bus: Bus) -> None:
        """Settle now, and whenever it is asked for; without end."""
        self._requested.set()
        while True:
            await self._requested.wait()
            self._requested.clear()
            for settle in self._settle:
                with contextlib.suppress(Unavailable, Fenced):
                    await settle(bus)
            await self._clock.sleep(_PAUSE)
