"""What may block, in a thread of the source's own: a disk that hangs keeps no other source from its work."""

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
    """One thread that does what it is given, in order.

    A daemon, unlike the threads of `asyncio.to_thread`: a read that never returns (of a file on a dead NFS server, say)
    is left behind with its thread, and holds up neither the shared pool nor the end of the process.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    @classmethod
    @asynccontextmanager
    async def opened(cls, name: str) -> AsyncIterator["IoThread"]:
        """Run a thread for as long as the context lasts; what was given to it by then is still done."""
        io_thread = cls(name)
        io_thread._thread.start()
        try:
            yield io_thread
        finally:
            io_thread._jobs.put(None)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in the thread and return what it returns. Who is cancelled meanwhile never learns of it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            try:
                result = work(*args, **kwargs)
            except Exception as exc:  # noqa: BLE001 -- whatever it is, whoever waits gets it
                _resolve(loop, done, exc, None)
            else:
                _resolve(loop, done, None, result)

        self._jobs.put(job)
        return await done

    def submit(self, work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `work` in the thread some time; it must not fail."""
        self._jobs.put(lambda: _ignore(work(*args, **kwargs)))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _ignore(_result: object) -> None:
    return


def _resolve(loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], error: Exception | None, result: Any) -> None:
    def tell() -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
        loop.call_soon_threadsafe(tell)
