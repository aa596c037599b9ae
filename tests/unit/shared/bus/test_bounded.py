"""What waits for the bus is bounded in time."""

import asyncio

import pytest

from shared.bus.bounded import bounded
from shared.errors import Unavailable


async def test_a_call_that_takes_too_long_raises_the_error() -> None:
    with pytest.raises(Unavailable, match="no answer"):
        async with bounded(0.001, "no answer"):
            await asyncio.Event().wait()


async def test_a_call_in_time_passes() -> None:
    async with bounded(20, "no answer"):
        await asyncio.sleep(0)
