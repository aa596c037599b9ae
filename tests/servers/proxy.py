"""A TCP proxy before a server: it can cut all connections and refuse new ones, and delay what the server sends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from services.standalone.embedded.process import free_port

_CHUNK = 65_536


class Proxy:
    """Forwards connections on a port of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        """Seconds before each chunk that the server sends is forwarded."""
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, host: str, port: int) -> AsyncIterator["Proxy"]:
        """Forward connections for as long as the context lasts."""
        proxy = cls(host, port)
        await proxy._listen()
        try:
            yield proxy
        finally:
            await proxy._cut()

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Cut all connections, and refuse new ones, for as long as the context lasts."""
        await self._cut()
        yield
        await self._listen()

    @contextlib.asynccontextmanager
    async def slow(self, delay: float = 0.02) -> AsyncIterator[None]:
        """Delay what the server sends for as long as the context lasts."""
        self.delay = delay
        yield
        self.delay = 0.0

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Whatever ends the task, even before its first step.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            return
        forwarding = [
            asyncio.ensure_future(self._forward(reader, back, slow=False)),
            asyncio.ensure_future(self._forward(there, writer, slow=True)),
        ]
        try:
            await asyncio.wait(forwarding, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in forwarding:
                each.cancel()
            back.transport.abort()
            await asyncio.gather(*forwarding, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if slow and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(chunk)
                await writer.drain()
