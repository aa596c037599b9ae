"""The thread of one source."""

import asyncio
import threading

import pytest

from services.system_api.sources.file.io_thread import Disk


async def test_what_it_is_given_is_done_in_order_in_one_thread() -> None:
    done: list[tuple[int, int]] = []

    def note(number: int) -> None:
        done.append((number, threading.get_ident()))

    async with Disk.opened("disk") as disk:
        for number in range(5):
            disk.later(note, number)
        assert await disk.run(divmod, 7, 2) == (3, 1)
    assert [number for number, _ in done] == [0, 1, 2, 3, 4]
    assert {thread for _, thread in done} != {threading.get_ident()}
    assert len({thread for _, thread in done}) == 1


async def test_an_error_reaches_whoever_waits() -> None:
    async with Disk.opened("disk") as disk:
        with pytest.raises(ZeroDivisionError):
            await disk.run(divmod, 1, 0)
        assert await disk.run(divmod, 7, 2) == (3, 1)


async def test_what_hangs_holds_up_neither_who_is_cancelled_nor_the_end() -> None:
    release = threading.Event()
    async with asyncio.timeout(10), Disk.opened("disk") as disk:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await disk.run(release.wait)
    release.set()


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped() -> None:
    release = threading.Event()
    async with Disk.opened("disk") as disk:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await disk.run(release.wait)
        release.set()
        assert await disk.run(divmod, 7, 2) == (3, 1)


async def test_the_thread_ends_with_the_context() -> None:
    async with Disk.opened("disk that ends") as disk:
        thread = await disk.run(threading.current_thread)
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert thread.daemon
