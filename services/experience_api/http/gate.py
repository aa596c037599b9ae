"""Spreads the work of a crowd of requests over turns of the event loop, so that other work has its turn in between."""

import asyncio
from collections import deque

from shared.http.accepting.crowds import CrowdShare


class Gate:
    """Lets some requests begin in each turn of the event loop, in order."""

    def __init__(self) -> None:
        self._share = CrowdShare()
        self._left = 0
        """How many may still begin in this turn."""
        self._counting = False
        """Whether turns are counted: some have begun in this one or the one before."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a turn of the event loop in which few others begin."""
        if not self._counting:
            self._begin_turn()
        if self._left and not self._waiting:
            self._left -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _begin_turn(self) -> None:
        loop = asyncio.get_running_loop()
        self._counting = True
        self._left = self._share.of_turn(loop.time())
        loop.call_soon(self._next_turn, self._left)

    def _next_turn(self, allowed: int) -> None:
        if not self._waiting and self._left == allowed:
            self._counting = False
            return
        self._begin_turn()
        while self._waiting and self._left:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._left -= 1
