"""Lets the attempts of one address take turns, so that a crowd of failing ones only delays those beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.experience_api.refusals import TOO_MANY_ATTEMPTS, Refused

_RETRY_AFTER = 1.0


@dataclass(slots=True)
class _Queue:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Turns:
    """One turn at a time for each name, and a limited number that wait for theirs, in order."""

    def __init__(self, limit: int = 16) -> None:
        """`limit` is how many of one name may wait or have their turn."""
        self._limit = limit
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the context is open.

        Raises:
            Refused: `TOO_MANY_ATTEMPTS`: too many wait already.
        """
        queue = self._queues.setdefault(name, _Queue())
        if queue.length >= self._limit:
            raise Refused(TOO_MANY_ATTEMPTS, retry_after=_RETRY_AFTER)
        queue.length += 1
        try:
            async with queue.turn:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queues[name]
