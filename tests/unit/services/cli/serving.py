"""Runs a service in a thread of its own: a command runs a loop of its own."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Self

from shared.composition.serving import RunningService


class ServiceThread(threading.Thread):
    """A service while the context lasts."""

    def __init__(self, build: Callable[[], AbstractAsyncContextManager[RunningService]]) -> None:
        """`build` is called in the loop of the service."""
        super().__init__(daemon=True)
        self._build = build
        self._is_ready = threading.Event()
        self._stopping = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.url = ""

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        async with self._build() as service:
            self.url = service.listening.url
            self._is_ready.set()
            await self._stopping.wait()

    def __enter__(self) -> Self:
        self.start()
        assert self._is_ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self._stopping.set)
        self.join(20)
