"""The work of users has a time limit, whatever it does with its cancellation."""

import asyncio

import pytest

from shared.runtime.tasks import within
from tests.unit.shared.runtime.test_tasks import ignores_cancellation


async def test_work_within_a_time_returns_its_result_or_raises_its_error() -> None:
    async def work(error: Exception | None) -> int:
        if error is not None:
            raise error
        return 7

    assert await within(60, "quick", work(None)) == 7
    with pytest.raises(KeyError):
        await within(60, "wrong", work(KeyError()))


@pytest.mark.parametrize("times", [0, 3, 100])
async def test_work_that_takes_longer_ends_or_is_abandoned(times: int) -> None:
    began = asyncio.Event()
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            await within(0.01, "a stubborn function", ignores_cancellation(times, began), interval=0.01, timeout=0.1)
    await abandon()


@pytest.mark.parametrize("times", [0, 3, 100])
async def test_a_caller_that_is_cancelled_ends_or_abandons_the_work(times: int) -> None:
    began = asyncio.Event()
    work = within(60, "a stubborn function", ignores_cancellation(times, began), interval=0.01, timeout=0.1)
    caller = asyncio.get_running_loop().create_task(work)
    await began.wait()
    caller.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await caller
    await abandon()


async def abandon() -> None:
    """End what is left."""
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await asyncio.sleep(0)
