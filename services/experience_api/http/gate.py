"""Spreads the work of a crowd of requests over turns of the event loop, so that other work has its turn in between."""

import asyncio
from collections import deque

_AT_ONCE = 4
"""Requests that begin in one turn of the event loop."""


class Gate:
    """Lets a few requests begin in each turn of the event loop, in order."""

    def __init__(self) -> None:
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a turn of the event loop in which few others begin."""
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)
        if self._begun < _AT_ONCE and not self._waiting:
            self._begun += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < _AT_ONCE:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)
