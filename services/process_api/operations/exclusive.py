"""Lets one replica at a time ask for a rewind, so that what it has read before still holds when the request is written.

The replica opens a writer, reads what was asked before, and writes the request with that writer. Another one that opens
the writer meanwhile fences it: nothing is written, and it begins again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.bus.protocol import Bus, Writer
from shared.errors import Fenced
from shared.runtime.clock import Clock

T = TypeVar("T")

_WRITER = "process.rewind"
_PAUSE = 0.1
_SECONDS = 5.0
"""How long a request is begun again at most, before it is refused."""


class ExclusiveRequests:
    """The requests of one replica that exclude those of all others."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._lock = asyncio.Lock()

    async def run(self, bus: Bus, ask: Callable[[Writer], Awaitable[T]]) -> T:
        """Return what `ask` returns; it gets the writer to commit with, and is called again where it was fenced.

        Raises (with what `ask` raises):
            Fenced: other replicas ask at the same time, again and again.
            Unavailable: the bus does not answer; whether the request was written is not known.
        """
        deadline = self._clock.monotonic() + _SECONDS
        async with self._lock:
            while True:
                try:
                    async with bus.writer(_WRITER) as writer:
                        return await ask(writer)
                except Fenced:
                    if self._clock.monotonic() >= deadline:
                        raise
                await self._clock.sleep(_PAUSE * (1 + self._rng.random()))

    async def settle(self, bus: Bus) -> None:
        """End what a killed replica had in flight, by opening its writer. What is asked here goes on undisturbed.

        Raises:
            Fenced, Unavailable: as for `Bus.writer`.
        """
        if not self._lock.locked():
            async with self._lock, bus.writer(_WRITER):
                pass
