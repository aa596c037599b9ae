"""A wait that can be ended early."""

import asyncio

from services.system_api.supervisor.wakeup import Wakeup
from shared.runtime.tasks import started


async def endless() -> None:
    await asyncio.Event().wait()


async def test_a_wait_ends_when_its_work_ends_or_its_time_is_over() -> None:
    wakeup = Wakeup()

    async def brief() -> None:
        await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await wakeup.wait(brief)
        await wakeup.wait(endless, 0.001)


async def test_it_is_ended_early_even_twice() -> None:
    wakeup = Wakeup()
    waiting = started("wait", wakeup.wait(endless, 3600.0))
    await asyncio.sleep(0)
    wakeup.set()
    wakeup.set()
    async with asyncio.timeout(60):
        await waiting


async def test_what_is_asked_between_two_waits_ends_the_next_one_alone() -> None:
    wakeup = Wakeup()
    wakeup.set()
    async with asyncio.timeout(60):
        await wakeup.wait(endless)
    waiting = started("wait", wakeup.wait(endless))
    done, _ = await asyncio.wait({waiting}, timeout=0.01)
    assert not done
    wakeup.set()
    async with asyncio.timeout(60):
        await waiting
