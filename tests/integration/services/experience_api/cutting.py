"""A link to a server that can be cut and mended: connections break, and new ones are refused or get no answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Link:
    """Forwards connections to a server, unless it is cut."""

    host: str
    port: int
    own_port: int = 0
    cut: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut_now(self) -> None:
        """Break every connection. New ones are accepted and get no answer."""
        self.cut = True
        for writer in list(self._writers):
            writer.transport.abort()

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.cut:
                await reader.read()
                return
            far_reader, far_writer = await asyncio.open_connection(self.host, self.port)
            self._writers.add(far_writer)
            async with asyncio.TaskGroup() as group:
                _ = group.create_task(_pump(reader, far_writer))
                _ = group.create_task(_pump(far_reader, writer))
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[tuple[Link, str]]:
    """Yield a link to the server of a database URL, and the URL that leads through it."""
    parts = urlsplit(url)
    link = Link(parts.hostname or "127.0.0.1", parts.port or 5432)
    server = await asyncio.start_server(link.forward, "127.0.0.1", 0)
    link.own_port = server.sockets[0].getsockname()[1]
    credentials = parts.netloc.rpartition("@")[0]
    netloc = f"{credentials + '@' if credentials else ''}127.0.0.1:{link.own_port}"
    try:
        yield link, parts._replace(netloc=netloc).geturl()
    finally:
        link.cut_now()
        server.close()
