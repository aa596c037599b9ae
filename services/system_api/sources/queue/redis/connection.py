"""Reads a consumer group of a Redis stream.

Each request reads the state of the stream and of the group together with the next entries, in one transaction of the
server: so what was trimmed before it was read shows, and so does another consumer that reads the same group.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Literal

from services.system_api.sources.queue.closing import detached
from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.positions import LAST, Positions
from services.system_api.sources.queue.redis.client import Redis, redis_errors
from services.system_api.sources.queue.redis.entries import EntryId, before, id_text, message_of, parse_id, size_of
from services.system_api.sources.queue.redis.following import COUNTS, Unread, known_facts, state_of
from services.system_api.sources.queue.redis.options import RedisSourceOptions
from services.system_api.sources.source import Checkpoint
from shared.errors import TrelayError, Unavailable
from shared.runtime.tasks import cancelled, started

_CONSUMER = "trelay"
"""One name for all replicas: the lease of the source decides which of them reads."""
_FORGET = 0.999
"""What an entry leaves of the size of larger ones before it."""
_FIRST_COUNT = 16
_GROWTH = 4
"""How many times more entries a request may ask for than the one before."""


class RedisConnection:
    """A `Connection` to a stream; `opened` makes it."""

    def __init__(
        self,
        client: Redis,
        options: RedisSourceOptions,
        source: str,
        positions: Positions[EntryId],
        deliveries: Mapping[bytes, int],
    ) -> None:
        self._client = client
        self._options = options
        self._group = options.group_of(source)
        self._positions = positions
        self._mark = positions.of()
        self._deliveries = dict(deliveries)
        """Of entries that earlier connections got."""
        self._unread = Unread(self._mark, options)
        self._largest = 1.0
        """The size of the largest entry, weighing recent ones more."""
        self._count = _FIRST_COUNT
        self._outstanding = 0
        self._idle = asyncio.Event()
        self._arrived = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        client: Redis,
        options: RedisSourceOptions,
        source: str,
        positions: Positions[EntryId],
        deliveries: Mapping[bytes, int],
    ) -> AsyncIterator["RedisConnection"]:
        """Watch for entries for as long as the context lasts."""
        connection = cls(client, options, source, positions, deliveries)
        watching = started(f"watch {options.in_words}", connection._watch())
        try:
            yield connection
        finally:
            await cancelled(watching)

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what comes next; see `Connection`."""
        room = self._options.prefetch - self._outstanding
        if room <= 0:
            return Received(waiting=("entries that wait for the transaction before",))
        self._count = max(1, min(limit, room, int(max_bytes / self._largest), _GROWTH * self._count))
        self._arrived.clear()
        entries = await detached("Redis request", self._next(self._count))
        if not entries:
            self._count = _FIRST_COUNT
            self._idle.set()
        prefix = self._mark.prefix
        messages = []
        for entry, fields in entries:
            size = size_of(fields)
            self._largest = max(1.0, self._largest * _FORGET, size)
            deliveries = self._deliveries.pop(entry, 0) + 1
            messages.append(message_of(entry, fields, self._options.field, prefix, deliveries))
        self._outstanding += len(messages)
        return Received(messages, more=len(entries) == self._count)

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Acknowledge; see `Connection`."""
        self._outstanding -= len(messages)
        if messages:
            await detached("Redis request", self._acknowledge([_token(message) for message in messages]))

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`. A time is that in the ids of the entries."""
        state = state_of(await detached("Redis request", self._state()))
        at: EntryId | None = None
        if place == "end":
            at = state.last
        elif isinstance(place, datetime):
            at = min(before((int(place.timestamp() * 1000), 0)) or (0, 0), state.last)
        self._mark.facts |= known_facts(state)
        return self._positions.checkpoint_after({"": at}, without=[*COUNTS, LAST])

    async def wait(self) -> None:
        """Return when there are entries; see `Connection`."""
        await self._arrived.wait()

    async def _acknowledge(self, ids: list[bytes]) -> None:
        with redis_errors(self._options):
            await self._client.xack(self._options.stream, self._group, *ids)

    async def _state(self) -> dict[str, Any]:
        with redis_errors(self._options):
            found: dict[str, Any] = await self._client.xinfo_stream(self._options.stream)
        return found

    async def _newer(self, after: str, block: int) -> bool:
        with redis_errors(self._options):
            return bool(await self._client.xread({self._options.stream: after}, count=1, block=block))

    async def _next(self, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        stream = self._options.stream
        with redis_errors(self._options):
            pipeline: Any
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.xinfo_stream(stream)
                pipeline.xinfo_groups(stream)
                pipeline.xreadgroup(self._group, _CONSUMER, {stream: ">"}, count=count)
                info, groups, answer = await pipeline.execute()
        self._check(groups)
        entries = [(entry, fields or {}) for _, found in answer for entry, fields in found]
        state = state_of(info)
        self._positions.losses += self._unread.check(state)
        self._unread.note([parse_id(entry) for entry, _ in entries], state, end=len(entries) < count)
        return entries

    def _check(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Raise `Unavailable` if another process has read from the group since the last request."""
        wanted = self._group.encode()
        delivered = next((parse_id(each["last-delivered-id"]) for each in groups if each["name"] == wanted), None)
        if delivered is None or delivered != (self._unread.read or (0, 0)):
            found = "no group" if delivered is None else f"entry {id_text(delivered)} delivered"
            raise Unavailable(
                f"{self._options.in_words}: found {found} and expected {id_text(self._unread.read)}: another process"
                f" reads group {self._group!r}; stop it, or set another `group`"
            )

    async def _watch(self) -> None:
        """Note when there are entries after the last one that was read; ends when the connection is lost."""
        block = int(max(1.0, self._options.connect_timeout / 2) * 1000)
        with suppress(TrelayError):
            while True:
                await self._idle.wait()
                after = id_text(self._unread.read)
                if await detached("Redis request", self._newer(after, block)) and after == id_text(self._unread.read):
                    self._idle.clear()
                    self._arrived.set()
        self._arrived.set()


def _token(message: Message) -> bytes:
    assert isinstance(message.token, bytes), "the id of its entry"
    return message.token
