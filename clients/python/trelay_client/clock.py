"""Time, passed in as an argument so that tests decide it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """How much time has passed, and how to wait."""

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
