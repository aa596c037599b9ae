"""Background tasks end loudly, and with their context."""

import asyncio

import pytest

from shared.tasks import Tasks, cancelled


async def forever(started: asyncio.Event, ended: list[str] | None = None) -> None:
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        if ended is not None:
            ended.append("ended")


async def breaks() -> None:
    raise ValueError("broken")


async def ends() -> None:
    return


async def test_leaving_the_context_cancels_and_awaits() -> None:
    started, ended = asyncio.Event(), list[str]()
    async with Tasks() as tasks:
        tasks.keep("endless", forever(started, ended))
        await started.wait()
        assert not ended
    assert ended == ["ended"]


async def test_a_failure_is_logged_with_the_name_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async with Tasks() as tasks:
        other = tasks.start("endless", forever(asyncio.Event()))
        tasks.keep("the poller of orders", breaks())
        error = await tasks.failed()
        assert isinstance(error, ValueError)
        assert "the poller of orders failed: broken" in caplog.text
        assert not other.done()


async def test_endless_work_that_ends_is_a_failure() -> None:
    async with Tasks() as tasks:
        tasks.keep("feed", ends())
        assert "feed ended by itself" in str(await tasks.failed())


async def test_work_that_may_end_is_none() -> None:
    async with Tasks() as tasks:
        await tasks.start("once", ends())
        waiting = asyncio.ensure_future(tasks.failed())
        await asyncio.sleep(0)
        assert not waiting.done()
        await cancelled(waiting)


async def test_cancelled_waits_for_the_end() -> None:
    started = asyncio.Event()
    task = asyncio.ensure_future(forever(started))
    await started.wait()
    await cancelled(task)
    assert task.cancelled()
