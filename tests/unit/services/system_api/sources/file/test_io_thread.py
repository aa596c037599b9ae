"""The I/O thread of one source."""

import asyncio
import threading

import pytest

from services.system_api.sources.file.io_thread import IoThread


async def test_jobs_run_in_order_in_one_thread() -> None:
    done: list[tuple[int, int]] = []

    def note(number: int) -> None:
        done.append((number, threading.get_ident()))

    async with IoThread.opened("disk") as io_thread:
        for number in range(5):
            io_thread.submit(note, number)
        assert await io_thread.run(divmod, 7, 2) == (3, 1)
    assert [number for number, _ in done] == [0, 1, 2, 3, 4]
    assert {thread for _, thread in done} != {threading.get_ident()}
    assert len({thread for _, thread in done}) == 1


async def test_an_error_reaches_the_caller() -> None:
    async with IoThread.opened("disk") as io_thread:
        with pytest.raises(ZeroDivisionError):
            await io_thread.run(divmod, 1, 0)
        assert await io_thread.run(divmod, 7, 2) == (3, 1)


async def test_the_panic_of_a_library_reaches_the_caller_and_ends_no_thread() -> None:
    class Panic(BaseException):
        pass

    def fail() -> None:
        raise Panic("index out of bounds")

    async with asyncio.timeout(60), IoThread.opened("disk") as io_thread:
        with pytest.raises(Panic):
            await io_thread.run(fail)
        assert await io_thread.run(divmod, 7, 2) == (3, 1)


async def test_a_job_that_hangs_blocks_neither_a_cancelled_caller_nor_the_end() -> None:
    release = threading.Event()
    async with asyncio.timeout(60), IoThread.opened("disk") as io_thread:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await io_thread.run(release.wait)
    release.set()


async def test_the_result_for_a_cancelled_caller_is_dropped() -> None:
    release = threading.Event()
    async with IoThread.opened("disk") as io_thread:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await io_thread.run(release.wait)
        release.set()
        assert await io_thread.run(divmod, 7, 2) == (3, 1)


async def test_the_thread_ends_with_the_context() -> None:
    async with IoThread.opened("disk that ends") as io_thread:
        thread = await io_thread.run(threading.current_thread)
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert thread.daemon
