"""A stream as a source: what arrives waits in a bounded buffer, and is published with the cursor behind it.

connect   resume after the cursor that was published; a connection that is lost is opened again
take      messages that have arrived
items     events and rejects, several of one message where it is a list
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from services.system_api.sources.http.received.items import Item
from services.system_api.sources.http.streaming.connection import Connection, Message, Upstream
from services.system_api.sources.http.streaming.cursors import Key, StreamState
from services.system_api.sources.http.streaming.messages import MessageItems
from services.system_api.sources.http.streaming.options import StreamOptions
from services.system_api.sources.source import Batch, EventBuilder, Loss
from shared.errors import TrelayError, Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_SPACING = 1.0
"""Seconds between two connections at least: a server may end each one after its first message."""
_RECONNECTING = ("messages that are read when the connection is open again",)
_GAP = "the connection was lost, and the server cannot resume: what it sent meanwhile is missing"


class _Held(NamedTuple):
    key: Key
    item: Item


class StreamSource:
    """A `Source` of one stream; `opened` makes it."""

    def __init__(
        self,
        name: str,
        options: StreamOptions,
        upstream: Upstream,
        state: StreamState,
        builder: EventBuilder,
        executor: ThreadPoolExecutor,
        clock: Clock,
    ) -> None:
        self._name = name
        self._options = options
        self._upstream = upstream
        self._state = state
        self._builder = builder
        self._executor = executor
        self._clock = clock
        self._opened_at = self._due = 0.0
        """When the last connection was opened, and when the next one may be."""
        self._failure: TrelayError | None = None
        """Why the last connection has ended without a message."""
        self._makers: list[MessageItems] = []
        """The one maker of items. Only the thread touches it: an expression belongs to the thread that compiled it."""
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._held: deque[_Held] = deque()
        self._repeats = 0
        self._losses: list[Loss] = []
        """What is missing and not reported yet."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        name: str,
        options: StreamOptions,
        upstream: Upstream,
        state: StreamState,
        builder: EventBuilder,
        clock: Clock,
    ) -> AsyncIterator["StreamSource"]:
        """Connect for as long as the context lasts. Raises what `Upstream.connected` does."""
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"messages of source {name}")
        source = cls(name, options, upstream, state, builder, executor, clock)
        try:
            await source._connect()
            yield source
        finally:
            executor.submit(source._makers.clear)
            executor.shutdown(wait=False)
            await source._stack.aclose()

    async def poll(self, limit: int) -> Batch:
        """Return the events of what has arrived; see `Source`."""
        if not self._held:
            connection = await self._living()
            if connection is None:
                return Batch(rows=0, waiting=_RECONNECTING)
            if messages := connection.take(limit):
                made = await asyncio.get_running_loop().run_in_executor(self._executor, self._made, messages)
                self._held.extend(made)
        # Nothing is awaited from here on: a failure before this is followed by a new instance, or has taken nothing.
        batch = self._filled(limit)
        batch.more = bool(self._held) or (self._connection is not None and self._connection.waiting)
        return batch

    async def wait_for_change(self) -> None:
        """Return when something has arrived, the connection has ended, or another one may be opened."""
        if self._connection is not None:
            await self._connection.changed.wait()
        else:
            await self._clock.sleep(max(0.0, self._due - self._clock.monotonic()))

    async def _living(self) -> Connection | None:
        """Return the connection; where it has ended and nothing of it is left, another one. None: it is too early.

        Raises:
            Unavailable, SettingsError, UnusableResponse: it cannot be opened, or ended before anything had arrived.
        """
        connection = self._connection
        if connection is not None and (connection.waiting or connection.error is None):
            return connection
        if connection is not None:
            self._connection = None
            await self._stack.aclose()
            fields = {"component": "source", "source": self._name, "error": str(connection.error)}
            logger.info("stream ended; connecting again", extra=fields)
            self._note_end(connection)
        if self._clock.monotonic() >= self._due:
            return await self._connect()
        if self._failure is not None:
            raise Unavailable(str(self._failure))
        return None

    def _note_end(self, connection: Connection) -> None:
        """Decide when the next connection may be opened; raise why this one has failed, where it has sent nothing.

        A server that states when to ask again, and ends the stream, has nothing to send.
        """
        pause = self._upstream.reconnect_after or 0.0
        self._due, self._failure = self._clock.monotonic() + pause, None
        if connection.received or (connection.ended and pause):
            self._due = max(self._due, self._opened_at + _SPACING)
            return
        # How often it is tried again is up to the retry policy, which would count an empty batch as a success.
        self._failure = connection.error or Unavailable("the stream has ended")
        raise self._failure

    async def _connect(self) -> Connection:
        self._state.reconnected()
        async with AsyncExitStack() as stack:
            options = self._options
            opening = Connection.opened(self._upstream, self._state.cursor, options.buffer_bytes, options.timeout)
            connection = await stack.enter_async_context(opening)
            self._stack = stack.pop_all()
        self._connection, self._opened_at = connection, self._clock.monotonic()
        if self._state.begun and self._state.cursor is None:
            self._losses.append(Loss(f"{self._upstream.name}: {_GAP}"))
        return connection

    def _made(self, messages: Sequence[Message]) -> list[_Held]:
        if not self._makers:
            self._makers.append(MessageItems(self._builder, self._options))
        maker = self._makers[0]
        maker.begin_batch()
        held = []
        for message in messages:
            if (loss := maker.loss(message)) is not None:
                self._losses.append(loss)
            key = self._state.key(maker.cursor(message))
            if key is None:
                self._repeats += 1
                continue
            done = self._state.skipped(key)
            held += [_Held(key, item) for item in maker.of(message, key.text) if item.number >= done]
        return held

    def _filled(self, limit: int) -> Batch:
        batch = Batch(rows=self._repeats, skipped=self._repeats)
        self._repeats = 0
        changed = not self._state.begun
        batch.losses = tuple(self._losses)
        self._losses.clear()
        taken = 0
        while self._held and taken < limit:
            key, item = self._held.popleft()
            taken += 1
            if item.outgoing is not None:
                batch.records.append(item.outgoing)
            elif item.reject is not None:
                batch.rejects.append(item.reject)
            else:
                batch.skipped += 1
            changed = changed or bool(batch) or key.cursor is not None
            self._state.publish(key, item.number + 1, last=item.last)
        batch.rows = (batch.rows or 0) + taken
        if changed:
            self._state.begun = True
            batch.checkpoint = {"": self._state.save()}
        return batch


def stream_epoch(clock: Clock, rng: random.Random) -> str:
    """Return what begins the ids of messages without a cursor."""
    return f"{int(clock.time() * 1000):x}{rng.getrandbits(16):04x}"
