"""A Redis stream, exactly once: the checkpoint holds the id of the last entry that was published.

    stream      is it still the stream of the checkpoint?
    group       created where it is missing; set back to the checkpoint
    orphans     what earlier consumers of the group got and did not acknowledge comes again, in its order

Everything is acknowledged as well, so that the group's lag is right, and its owner can trim what is acknowledged.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.system_api.sources.queue.closing import detached
from services.system_api.sources.queue.positions import LIMIT, Positions
from services.system_api.sources.queue.redis.client import Redis, ResponseError, connected, redis_errors
from services.system_api.sources.queue.redis.connection import RedisConnection
from services.system_api.sources.queue.redis.entries import EntryId, before, digest_of, id_text, parse_id
from services.system_api.sources.queue.redis.following import (
    Found,
    StreamState,
    begin,
    first_known,
    follow,
    refuse_risks,
    risks,
    state_of,
)
from services.system_api.sources.queue.redis.options import RedisSourceOptions
from services.system_api.sources.source import Checkpoint
from shared.errors import SettingsError, Unavailable

_PAGE = 1000
_NO_SUCH_KEY = "no such key"


class RedisStream:
    """A `Broker`: one stream."""

    def __init__(self, source: str, options: RedisSourceOptions, checkpoint: Checkpoint) -> None:
        self._source = source
        self._options = options
        self._group = options.group_of(source)
        self.ledger: Positions[EntryId] = Positions(options.in_words, tuple[int, int], checkpoint)

    @property
    def name(self) -> str:
        """The stream's key."""
        return self._options.stream

    async def probe(self) -> str:
        """Connect and look; see `Broker`."""
        async with connected(self._options, self._source) as client:
            state = await self._inspected(client)
            group = await self._group_info(client)
        waits = "no group yet" if group is None else f"group {self._group!r}, {group['pending']} entries unacknowledged"
        return f"stream {self._options.stream!r}, {state.length} entries; {waits}"

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[RedisConnection]:
        """Connect to look; see `Broker`. The group is left as it is."""
        async with connected(self._options, self._source) as client:
            await detached("Redis request", self._followed(client))
            yield RedisConnection(client, self._options, self._source, self.ledger, {})

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[RedisConnection]:
        """Connect; see `Broker`."""
        async with connected(self._options, self._source) as client:
            deliveries = await detached("Redis request", self._positioned(client))
            async with RedisConnection.opened(
                client, self._options, self._source, self.ledger, deliveries
            ) as connection:
                yield connection

    async def _positioned(self, client: Redis) -> dict[bytes, int]:
        """Set the group to where reading continues; return how often entries were delivered."""
        group_missing = await self._followed(client)
        with redis_errors(self._options):
            if group_missing:
                await client.xgroup_create(self._options.stream, self._group, id=id_text(self.ledger.of().mark))
            return await self._take_over(client)

    async def _inspected(self, client: Redis) -> StreamState:
        options = self._options
        with redis_errors(options):
            try:
                info: Any = await client.xinfo_stream(options.stream)
            except ResponseError as exc:
                if _NO_SUCH_KEY not in str(exc):
                    raise
                options.note_missing(options.stream)
                raise Unavailable(
                    f"Redis at {options.host}:{options.port}: {options.in_words} does not exist; its owner must create"
                    " it"
                ) from exc
            server: dict[str, Any] = {**await client.info("persistence"), **await client.info("memory")}
            ttl = await client.ttl(options.stream)
        refuse_risks(risks(server, ttl), options)
        return state_of(info)

    async def _group_info(self, client: Redis) -> dict[str, Any] | None:
        with redis_errors(self._options):
            groups: Any = await client.xinfo_groups(self._options.stream)
        wanted = self._group.encode()
        return next((group for group in groups if group["name"] == wanted), None)

    async def _followed(self, client: Redis) -> bool:
        """Move the mark to where reading continues; return whether the group is missing."""
        state = await self._inspected(client)
        with redis_errors(self._options):
            group = await self._group_info(client)
            await self._follow(client, state, group)
        return group is None

    async def _follow(self, client: Redis, state: StreamState, group: dict[str, Any] | None) -> None:
        mark = self.ledger.of()
        if mark.epoch:
            last, first = await self._digest(client, mark.highest), await self._digest(client, first_known(mark))
            found = Found(last, first, unread_group=group is None or not group["consumers"])
            self.ledger.losses += follow(state, mark, self._options, found)
        elif group is not None:
            await self._begin_in_group(client, state, parse_id(group["last-delivered-id"]))
        else:
            latest = self._options.begins_at_end(self._options.stream)
            begin(mark, state.last if latest and state.last != (0, 0) else None, state)

    async def _digest(self, client: Redis, entry: EntryId | None) -> str | None:
        """Return the digest of an entry, None if there is none."""
        if entry is None:
            return None
        found: Any = await client.xrange(self._options.stream, id_text(entry), id_text(entry))
        return digest_of(found[0][1]) if found else None

    async def _begin_in_group(self, client: Redis, state: StreamState, delivered: EntryId) -> None:
        """Begin in a group of others: after what they got, and with what they left unacknowledged."""
        stream, mark = self._options.stream, self.ledger.of()
        orphans = {parse_id(each["message_id"]) for each in await self._pending(client, None)}
        begin(mark, delivered if delivered != (0, 0) else None, state)
        if not orphans:
            return
        first = min(orphans)
        found: Any = await client.xrange(stream, id_text(first), id_text(delivered), count=LIMIT + len(orphans) + 1)
        acknowledged = [entry for entry, _ in found if parse_id(entry) not in orphans]
        if len(acknowledged) > LIMIT:
            raise SettingsError(
                f"group: found more than {LIMIT} acknowledged entries after {id_text(first)}, which is not; acknowledge"
                " it, or set another group"
            )
        mark.mark = before(first)
        for entry in acknowledged:
            mark.add(parse_id(entry), contiguous=False)

    async def _take_over(self, client: Redis) -> dict[bytes, int]:
        """Set the group back to the mark, so that everything after it comes again in its order.

        An entry that was delivered to another consumer becomes ours when it is read again. Return how often the entries
        after the mark were delivered, by id.
        """
        stream, mark = self._options.stream, self.ledger.of()
        pending = await self._pending(client, None)
        published = [each["message_id"] for each in pending if self.ledger.of().published(parse_id(each["message_id"]))]
        for start in range(0, len(published), _PAGE):
            await client.xack(stream, self._group, *published[start : start + _PAGE])
        await client.xgroup_setid(stream, self._group, id_text(mark.mark))
        return {each["message_id"]: int(each["times_delivered"]) for each in pending}

    async def _pending(self, client: Redis, after: bytes | None) -> list[dict[str, Any]]:
        """Return all unacknowledged entries of the group."""
        found: list[dict[str, Any]] = []
        while True:
            start = "-" if after is None else f"({after.decode()}"
            page: Any = await client.xpending_range(self._options.stream, self._group, start, "+", _PAGE)
            found += page
            if len(page) < _PAGE:
                return found
            after = page[-1]["message_id"]
