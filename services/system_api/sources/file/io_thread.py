"""Runs blocking calls in a thread of its own, so that a disk that hangs blocks no other source."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = Callable[[], None]


class IoThread:
    """One thread that runs its jobs in order.

    It is a daemon thread, unlike those of `asyncio.to_thread`: a read that never returns (from a dead NFS server, for
    example) blocks only this thread, and neither a shared pool nor the exit of the process.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    @classmethod
    @asynccontextmanager
    async def opened(cls, name: str) -> AsyncIterator["IoThread"]:
        """Run a thread while the context is open; jobs submitted by then are still run."""
        io_thread = cls(name)
        io_thread.start()
        try:
            yield io_thread
        finally:
            io_thread.stop()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread behind the jobs that were submitted by then, without waiting for that."""
        self._jobs.put(None)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in the thread and return its result. If the caller is cancelled, the call still runs."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                result = work(*args, **kwargs)
            except BaseException as exc:  # noqa: BLE001 -- the caller gets any; a panic of Rust is no `Exception`
                _resolve(loop, done, exc, None)
            else:
                _resolve(loop, done, None, result)

        self._jobs.put(job)
        return await done

    def submit(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `work` in the thread without waiting for it; it must not raise."""
        self._jobs.put(lambda: _ignore(work(*args, **kwargs)))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _ignore(_result: object) -> None:
    return


def _resolve(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], error: BaseException | None, result: Any
) -> None:
    def resolve() -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    with suppress(RuntimeError):  # the loop is closed: no caller is waiting
        loop.call_soon_threadsafe(resolve)
