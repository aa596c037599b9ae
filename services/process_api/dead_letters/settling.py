"""Ends what a replica left open that was killed while it decided on dead letters.

Readers of a partition wait for an open transaction there. On Kafka, that of a killed process is open until its timeout,
30 seconds by default, unless another process opens the writer. For a partition of the ingest topic, the next owner does
so at once. Nobody owns the dead letters, so each replica does it when it starts, and when it gets a partition: the
replica that had it may have been killed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from shared.bus.protocol import Bus
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import Clock

_PAUSE = 5.0
"""Seconds between two times: a rebalance moves many partitions at once."""


class Settling:
    """Settles the dead letters when it is asked to."""

    def __init__(self, settle: Callable[[Bus], Awaitable[None]], clock: Clock) -> None:
        """`settle` may raise `Unavailable` and `Fenced`: then another replica decides, which settles them as well."""
        self._settle = settle
        self._clock = clock
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Ask for it: another replica may have been killed."""
        self._requested.set()

    async def run(self, bus: Bus) -> None:
        """Settle them now, and whenever it is asked for; without end."""
        self._requested.set()
        while True:
            await self._requested.wait()
            self._requested.clear()
            with contextlib.suppress(Unavailable, Fenced):
                await self._settle(bus)
            await self._clock.sleep(_PAUSE)
