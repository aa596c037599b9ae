"""Bounds what waits for the bus in time, for callers that have somebody waiting for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import Unavailable


@asynccontextmanager
async def bounded(seconds: float, error: str) -> AsyncIterator[None]:
    """Raise `Unavailable` with this error where the body takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as exc:
        raise Unavailable(error) from exc
