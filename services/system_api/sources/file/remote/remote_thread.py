"""Runs requests to a remote file system in a thread, each with a time limit. A thread that hangs is replaced."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from services.system_api.sources.file.io_thread import IoThread
from shared.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


class RemoteThread:
    """The thread of one source."""

    def __init__(self, name: str, url: str, timeout: float, on_timeout: Callable[[], object] = lambda: None) -> None:
        """`timeout` is in seconds. `on_timeout` is to end the request that has no answer; it must not raise.

        It is called in the thread that replaces the one that hangs.
        """
        self._name = name
        self._url = url
        self._timeout = timeout
        self._on_timeout = on_timeout
        self._thread = IoThread(name)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the thread while the context is open."""
        self._thread.start()
        try:
            yield
        finally:
            self._thread.stop()

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in the thread and return its result.

        Raises:
            Unavailable: it takes too long. It may still be running.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._thread.run(work, *args, **kwargs)
        except TimeoutError as exc:
            self._thread.stop()
            self._thread = IoThread(self._name)
            self._thread.start()
            self._thread.submit(self._on_timeout)
            raise Unavailable(f"{self._url}: no answer within {self._timeout:g} s") from exc

    def submit(self, work: Callable[[], object]) -> None:
        """Call `work` in the thread without waiting for it; it must not raise."""
        self._thread.submit(work)
