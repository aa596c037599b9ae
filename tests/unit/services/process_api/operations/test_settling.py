"""What a killed replica left open is ended, when this one starts and when it gets a partition."""

import asyncio
import contextlib

from services.process_api.operations.settling import Settling
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SystemClock


class StepClock(SystemClock):
    """A sleep ends when the test says so."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.wake.wait()
        self.wake.clear()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_is_done_at_the_start_and_when_asked_for_not_too_often() -> None:
    clock, done, also = StepClock(), list[Bus](), list[Bus]()
    errors = [None, Unavailable("no broker"), Fenced("another"), None]

    async def settle(bus: Bus) -> None:
        done.append(bus)
        if (error := errors[len(done) - 1]) is not None:
            raise error

    async def settle_also(bus: Bus) -> None:
        also.append(bus)

    settling = Settling((settle, settle_also), clock)
    task = asyncio.create_task(settling.run(MemoryBus()))
    await turns()
    assert len(done) == 1
    settling.request()
    settling.request()
    await turns()
    assert len(done) == 1
    for count in (2, 3):
        clock.wake.set()
        await turns()
        assert len(done) == count
        settling.request()
    clock.wake.set()
    await turns()
    assert len(done) == 4
    clock.wake.set()
    await turns()
    assert len(done) == len(also) == 4
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
