import asyncio

import pytest

from trelay_client.tasks import ended, started


async def test_a_task_has_ended_when_ended_returns() -> None:
    seen: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    async def failing() -> None:
        raise ValueError("of no interest")

    task = started("endless", endless())
    await asyncio.sleep(0)
    await ended(task)
    assert (seen, task.get_name()) == (["cancelled"], "endless")
    await ended(started("failing", failing()))
    failed = started("failing", failing())
    await asyncio.sleep(0)
    await ended(failed)


async def test_a_cancellation_meanwhile_is_not_lost() -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await released.wait()

    task = started("stubborn", stubborn())
    await asyncio.sleep(0)
    waiting = started("waiting", ended(task))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not task.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_has_ended_before_is_no_error() -> None:
    async def short() -> None:
        await asyncio.sleep(0)

    task = started("short", short())
    await task
    await ended(task)
