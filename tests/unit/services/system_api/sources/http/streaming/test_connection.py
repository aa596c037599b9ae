"""Messages wait in a buffer that is bounded in bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.system_api.sources.http.streaming.connection import Connection, Message
from shared.errors import Unavailable


class Server:
    """Sends what a test puts in."""

    name = "server"
    reconnect_after: float | None = None

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message | Exception | None] = asyncio.Queue()
        self.read = 0
        self.closed = False
        self.slow = False

    @asynccontextmanager
    async def connected(self, cursor: str | None) -> AsyncIterator[AsyncIterator[Message]]:
        assert cursor is None
        if self.slow:
            await asyncio.Event().wait()
        yield self._messages()
        self.closed = True

    async def _messages(self) -> AsyncIterator[Message]:
        while (message := await self.sent.get()) is not None:
            self.read += 1
            if isinstance(message, Exception):
                raise message
            yield message

    def send(self, *messages: Message | Exception | None) -> None:
        for message in messages:
            self.sent.put_nowait(message)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_nothing_more_is_read_than_the_buffer_holds() -> None:
    server = Server()
    server.send(*(Message(b"x" * 800, 0.0) for _ in range(6)))
    async with Connection.opened(server, None, 2000, 1.0) as connection:
        await settled()
        assert server.read == 2
        assert len(connection.take(1)) == 1
        await settled()
        assert (server.read, connection.waiting) == (3, True)
        assert len(connection.take(10)) == 2
        await settled()
        assert (server.read, connection.received) == (5, 5)
    assert server.closed


async def test_what_has_arrived_is_there_after_the_end() -> None:
    server = Server()
    async with Connection.opened(server, None, 2000, 1.0) as connection:
        server.send(Message(b"a", 0.0), None)
        await connection.changed.wait()
        await settled()
        assert isinstance(connection.error, Unavailable)
        assert [each.body for each in connection.take(10)] == [b"a"]
        assert connection.changed.is_set()


async def test_an_error_is_kept() -> None:
    server = Server()
    async with Connection.opened(server, None, 2000, 1.0) as connection:
        server.send(Unavailable("lost"))
        await connection.changed.wait()
        assert str(connection.error) == "lost"


async def test_a_server_that_does_not_answer() -> None:
    server = Server()
    server.slow = True
    with pytest.raises(Unavailable, match=r"server: no answer within 0\.01 s"):
        async with Connection.opened(server, None, 2000, 0.01):
            pass
