"""A clock that the test moves, and whose sleeps end as it moves."""

import asyncio

from shared.runtime.clock import SystemClock


class StillClock(SystemClock):
    """Time stands until `pass_time` moves it."""

    def __init__(self) -> None:
        self.now_seconds = 1000.0
        self._moved = asyncio.Event()

    def time(self) -> float:
        return self.now_seconds

    def monotonic(self) -> float:
        return self.now_seconds

    async def sleep(self, seconds: float) -> None:
        until = self.now_seconds + seconds
        while self.now_seconds < until:
            await self._moved.wait()

    def pass_time(self, seconds: float) -> None:
        self.now_seconds += seconds
        self._moved.set()
        self._moved = asyncio.Event()
