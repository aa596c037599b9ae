"""One connection to a stream, whose messages wait in a buffer that is bounded in bytes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from shared.errors import TrelayError, Unavailable
from shared.runtime.tasks import Tasks

_OVERHEAD = 200
"""Bytes that a message takes beside its body."""


@dataclass(frozen=True, slots=True)
class Message:
    """What the server sent at once."""

    body: bytes | None
    """None: only the cursor has moved."""
    received_at: float
    cursor: str | None = None
    """The cursor, where the transport tells it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    """Whether the body was too large, and only its beginning is here."""


class Upstream(Protocol):
    """A server that sends a stream of messages."""

    name: str
    """How errors name it, without credentials."""
    reconnect_after: float | None
    """Seconds after the end of a connection in which the server wants no other one; None if it has not said."""

    def connected(self, cursor: str | None) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Connect and resume after a cursor; the messages end, or raise, when the connection does.

        Raises (on entering):
            Unavailable: the server does not answer.
            SettingsError, UnusableResponse: a retry gives the same.
        """
        ...


class Connection:
    """The messages that have arrived and are not taken yet."""

    def __init__(self, messages: AsyncIterator[Message], limit: int) -> None:
        self._messages = messages
        self._limit = limit
        self._held: deque[Message] = deque()
        self._size = 0
        self._room = asyncio.Event()
        self.changed = asyncio.Event()
        """Set when something has arrived, or the connection has ended."""
        self.received = 0
        """Messages that have arrived."""
        self.ended = False
        """Whether the server has ended it."""
        self.error: TrelayError | None = None
        """Why it has ended, None while it lives."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, upstream: Upstream, cursor: str | None, limit: int, timeout: float
    ) -> AsyncIterator["Connection"]:
        """Connect, and read for as long as the context lasts. Raises what `Upstream.connected` does."""
        context = upstream.connected(cursor)
        try:
            async with asyncio.timeout(timeout):
                messages = await context.__aenter__()
        except TimeoutError as exc:
            raise Unavailable(f"{upstream.name}: no answer within {timeout:g} s") from exc
        try:
            async with Tasks() as tasks:
                connection = cls(messages, limit)
                _ = tasks.start(f"stream {upstream.name}", connection._fill())
                yield connection
        finally:
            await context.__aexit__(None, None, None)

    def take(self, limit: int) -> list[Message]:
        """Return what has arrived, at most so many messages."""
        self.changed.clear()
        taken: list[Message] = []
        while self._held and len(taken) < limit:
            message = self._held.popleft()
            self._size -= _size(message)
            taken.append(message)
        self._room.set()
        if self._held or self.error is not None:
            self.changed.set()
        return taken

    @property
    def waiting(self) -> bool:
        """Whether messages wait."""
        return bool(self._held)

    async def _fill(self) -> None:
        try:
            async for message in self._messages:
                self._held.append(message)
                self._size += _size(message)
                self.received += 1
                self.changed.set()
                while self._size >= self._limit:
                    self._room.clear()
                    await self._room.wait()
            self.ended = True
            self.error = Unavailable("the server has ended the stream")
        except TrelayError as exc:
            self.error = exc
        finally:
            if self.error is None:
                self.error = Unavailable("reading the stream has failed")
            self.changed.set()


def _size(message: Message) -> int:
    return len(message.body or b"") + _OVERHEAD
