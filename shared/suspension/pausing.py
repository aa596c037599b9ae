"""Waits on the event loop for a process that evaluates apart."""

import asyncio
import contextlib
from weakref import WeakKeyDictionary

_slots: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]" = WeakKeyDictionary()


def slots(count: int) -> asyncio.Semaphore:
    """Return what bounds the evaluations at once of the running event loop; `count` is for the first call."""
    loop = asyncio.get_running_loop()
    found = _slots.get(loop)
    if found is None:
        found = _slots[loop] = asyncio.Semaphore(count)
    return found


async def ready(read: int, write: int | None, seconds: float) -> None:
    """Return once one descriptor can be read or the other be written, or after so many seconds."""
    loop, either = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(read, either.set)
    if write is not None:
        loop.add_writer(write, either.set)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await either.wait()
    finally:
        loop.remove_reader(read)
        if write is not None:
            loop.remove_writer(write)
