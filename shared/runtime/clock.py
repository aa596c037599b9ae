"""Time and chance, passed in as arguments so that tests decide them.

The only module that may read the clock or roll rng; everybody else is given a `Clock` or a `random.Random`.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is, and how to wait."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        ...

    def time(self) -> float:
        """Return the wall-clock time in seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def time(self) -> float:
        """Return the wall-clock time in seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def rfc3339(seconds: float) -> str:
    """Write seconds since 1970 as CloudEvents wants a time (RFC 3339, UTC, milliseconds)."""
    whole, fraction = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{fraction:03d}Z"
