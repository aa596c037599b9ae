"""Waits on the event loop for pipes, and for others who use them."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from shared.runtime.tasks import cancelled, started
from shared.suspension.pausing import ready, slots


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    for end in (read, write):
        os.set_blocking(end, False)
    yield read, write
    os.close(read)
    os.close(write)


async def test_it_is_over_once_something_can_be_read(pipe: tuple[int, int]) -> None:
    read, write = pipe
    waiting = started("test", ready(read, None, 240.0))
    await asyncio.sleep(0)
    assert not waiting.done()
    os.write(write, b"x")
    await waiting


async def test_it_is_over_once_something_can_be_written(pipe: tuple[int, int]) -> None:
    await ready(pipe[0], pipe[1], 240.0)


async def test_it_is_over_after_some_time(pipe: tuple[int, int]) -> None:
    await ready(pipe[0], None, 0.01)


async def test_nothing_is_watched_once_it_is_over(pipe: tuple[int, int]) -> None:
    loop = asyncio.get_running_loop()
    for write in (None, pipe[1]):
        waiting = started("test", ready(pipe[0], write, 240.0))
        await asyncio.sleep(0)
        await cancelled(waiting)
        assert not loop.remove_reader(pipe[0])
        assert not loop.remove_writer(pipe[1])


async def test_an_event_loop_has_one_bound() -> None:
    assert slots(1) is slots(1)
    await slots(1).acquire()
    assert slots(1).locked()


def test_another_event_loop_has_its_own() -> None:
    async def locked() -> bool:
        found = slots(1)
        before = found.locked()
        await found.acquire()
        return before

    assert [asyncio.run(locked()) for _ in range(2)] == [False, False]
