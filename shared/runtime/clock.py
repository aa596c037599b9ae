"""Time, passed in as an argument so that tests decide it.

The only module that reads the clock. Other modules take a `Clock`, and a `random.Random` for random numbers.
"""

import asyncio
import json
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from shared.errors import Malformed


class Clock(Protocol):
    """Reads the time, and waits."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        ...

    def time(self) -> float:
        """Return the wall-clock time in seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; they never decrease."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def time(self) -> float:
        """Return the wall-clock time in seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; they never decrease."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def rfc3339(seconds: float) -> str:
    """Return seconds since 1970 in the form of CloudEvents (RFC 3339, UTC, milliseconds)."""
    whole, fraction = divmod(int(seconds * 1000), 1000)
    return f"{_to_the_second(whole)}.{fraction:03d}Z"


@lru_cache(64)  # consecutive messages share their second
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def parse_time(member: str, given: object) -> datetime:
    """Return a time that an operator names, in UTC; `member` is where.

    Raises:
        Malformed: it is none, or has no time zone.
    """
    shown = json.dumps(given)[:60]
    try:
        found = datetime.fromisoformat(given if isinstance(given, str) else "")
        if found.tzinfo is None:
            raise Malformed(f"{member}: found {shown}, which has no time zone; expected one, such as a final Z")
        return found.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise Malformed(f"{member}: found {shown}; expected RFC 3339, such as 2026-01-31T12:00:00Z") from exc
