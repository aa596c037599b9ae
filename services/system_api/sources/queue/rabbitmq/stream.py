"""The messages of a RabbitMQ stream, exactly once: the checkpoint holds the offset of the last one that was published.

A stream has no id that tells it from another one of its name. So the checkpoint also holds digests of the last message
that was published and of the first one in the stream, and a connection compares both: where they differ, the stream was
deleted and declared again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Literal

from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.positions import LAST, Mark, Positions
from services.system_api.sources.queue.rabbitmq.client import (
    AbstractChannel,
    DeliveredMessage,
    RabbitmqClient,
    rabbitmq_errors,
)
from services.system_api.sources.queue.rabbitmq.consumer import Consumer, Sizes
from services.system_api.sources.queue.rabbitmq.inspection import declaration, inspected, refuse_risks
from services.system_api.sources.queue.rabbitmq.messages import fingerprint, from_stream, newest_tag, offset_of
from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions
from services.system_api.sources.source import Checkpoint, Loss
from shared.errors import Unavailable

_FIRST, _FIRST_OFFSET = "first", "first_offset"
"""The facts that hold the digest and the offset of the first message in the stream."""
_BEGUN = "begun"
"""The epoch of a stream: it has none of its own."""
_ARRIVAL = 1.0
"""Seconds in which a message that exists must arrive."""
_QUIET = 0.2
"""Seconds without a message after which the end of the stream is reached."""


class RabbitmqStream:
    """A `Broker`: one stream."""

    def __init__(self, source: str, options: RabbitmqSourceOptions, checkpoint: Checkpoint) -> None:
        self._source = source
        self._options = options
        self._sizes = Sizes(options)
        self.ledger = Positions(options.in_words, int, checkpoint)

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._options.target

    async def probe(self) -> str:
        """Connect and look; see `Broker`."""
        async with RabbitmqClient.connected(self._options, self._source) as client:
            return await inspected(client, self._options)

    def looking(self) -> AbstractAsyncContextManager["StreamConnection"]:
        """Connect to look; see `Broker`. A reader disturbs no other one."""
        return self.connected()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["StreamConnection"]:
        """Connect; see `Broker`."""
        async with RabbitmqClient.connected(self._options, self._source) as client:
            found = await declaration(client, self._options)
            if found is not None:
                refuse_risks(found, self._options)
            connection = StreamConnection(client, await client.channel(), self._options, self.ledger, self._sizes)
            await connection.begin()
            yield connection


class StreamConnection:
    """A `Connection` to a stream."""

    def __init__(
        self,
        client: RabbitmqClient,
        channel: AbstractChannel,
        options: RabbitmqSourceOptions,
        positions: Positions[int],
        sizes: Sizes,
    ) -> None:
        self._client = client
        self._channel = channel
        self._options = options
        self._positions = positions
        self._mark = positions.of()
        self._sizes = sizes
        self._flowing = False
        """Whether the last look found messages, so that others may follow."""
        self._next: int | None = None
        """The offset after the newest message that was taken or checked; None: the beginning."""
        self._consumer = Consumer(channel, options, sizes)

    async def begin(self) -> None:
        """Find out whether this is still the stream of the checkpoint, and where to continue.

        Raises:
            Unavailable: the broker does not answer, or does not deliver what was published before.
        """
        # To begin at the end of a stream, a broker that is slow must not be taken for a stream that is empty.
        at_end = not self._mark.epoch and self._options.begins_at_end(self._options.target)
        first = await self._first_message(self._options.connect_timeout if at_end else _ARRIVAL)
        await self._find_place(first)
        if first is not None:
            self._mark.facts |= {_FIRST_OFFSET: offset_of(first), _FIRST: fingerprint(first)}

    async def _find_place(self, first: DeliveredMessage | None) -> None:
        mark = self._mark
        if first is not None and _replaces(first, mark):
            await self._replace()
        elif mark.mark is None:
            await self._begin_first(empty=first is None)
        elif first is None:
            raise Unavailable(
                f"{self._options.in_words} is empty, and offset {mark.mark} of it was published: it was deleted and"
                " declared again, or its data is not available yet; reading resumes with its first message"
            )
        elif offset_of(first) > mark.mark:
            self._removed_by_retention(mark.mark + 1, offset_of(first) - 1)
            self._next = offset_of(first)
        else:
            await self._compare(mark.mark)

    async def _begin_first(self, *, empty: bool) -> None:
        """Begin where the settings say, if the stream was never opened before."""
        mark = self._mark
        if not mark.epoch:
            latest = not empty and self._options.begins_at_end(self._options.target)
            mark.begin(_BEGUN, await self._last_offset() if latest else None)
        self._next = None if mark.mark is None else mark.mark + 1

    async def _compare(self, mark: int) -> None:
        """Begin with the last message that was published, and compare it."""
        self._next = mark
        await self._subscribe()
        await self._consumer.wait(self._options.connect_timeout)
        self._consumer.check()
        taken = self._consumer.take(1, 1)
        found = taken[0] if taken else None
        if found is None or offset_of(found) != mark:
            raise Unavailable(
                f"{self._options.in_words} does not deliver offset {mark}, which was published: this replica of it"
                " lags, or it was deleted and declared again"
            )
        self._next = mark + 1
        with rabbitmq_errors(self._options):
            await self._channel.basic_ack(found.delivery_tag or 0)
        if self._mark.facts.get(LAST, fingerprint(found)) != fingerprint(found):
            await self._replace()

    async def _replace(self) -> None:
        self._positions.losses.append(
            Loss(
                f"{self._options.in_words} was deleted and declared again: what it held after offset {self._mark.mark}"
                " is lost; the new one is read from its beginning"
            )
        )
        self._mark.replace(_BEGUN)
        self._next = None
        await self._renew()

    def _removed_by_retention(self, first: int, last: int) -> None:
        if last >= first:
            self._positions.losses.append(
                Loss(
                    f"{self._options.in_words}: offsets {first} to {last} ({last - first + 1} messages) were removed by"
                    " its retention before they were read"
                )
            )

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what was delivered; see `Connection`."""
        self._consumer.check()
        if self._consumer.outgrown:
            await self._renew()
        if not self._consumer.subscribed:
            await self._subscribe()
            await self._consumer.wait(_ARRIVAL)
            self._consumer.check()
        taken = self._consumer.take(limit, max_bytes)
        if not taken and self._flowing:
            # Nobody tells where the stream ends: what follows at once comes now.
            await self._consumer.wait(_QUIET)
            taken = self._consumer.take(limit, max_bytes)
        self._flowing = bool(taken)
        if taken:
            self._next = offset_of(taken[-1]) + 1
        prefix = self._mark.prefix
        return Received([from_stream(each, prefix) for each in taken], more=bool(taken))

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Let the broker send more; it keeps no position."""
        newest = newest_tag(messages, self._channel)
        if newest:
            with rabbitmq_errors(self._options):
                await self._channel.basic_ack(newest, multiple=True, wait=False)

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`.

        At a time, the stream returns messages from the beginning of a chunk on, and so some that are older.
        """
        at: int | None = None
        if isinstance(place, datetime):
            found = await self._peek(place, 1, self._options.connect_timeout)
            at = offset_of(found[0]) - 1 if found else await self._end()
        elif place == "end":
            at = await self._end()
        return self._positions.checkpoint_after({"": None if at == -1 else at}, without=[LAST])

    async def _end(self) -> int | None:
        """Return the offset of the newest message, None if there is none.

        Nothing tells that a stream is empty but that it delivers nothing, as a slow broker does: taken for the end, the
        beginning would repeat all messages.
        """
        found = await self._peek("first", 1, self._options.connect_timeout)
        return await self._last_offset() if found else None

    async def wait(self) -> None:
        """Return when something was delivered; see `Connection`."""
        await self._consumer.wait()

    async def _subscribe(self) -> None:
        await self._consumer.subscribe({"x-stream-offset": "first" if self._next is None else self._next})

    async def _renew(self) -> None:
        """Replace the channel, to subscribe again at another offset or with another prefetch."""
        with rabbitmq_errors(self._options):
            await self._channel.close()
        self._channel = await self._client.channel()
        self._consumer = Consumer(self._channel, self._options, self._sizes)

    async def _first_message(self, arrival: float) -> DeliveredMessage | None:
        """Return the oldest message in the stream, None if none comes within `arrival` seconds."""
        found = await self._peek("first", 1, arrival)
        return found[0] if found else None

    async def _last_offset(self) -> int:
        """Return the offset of the newest message in a stream that is not empty."""
        found = await self._peek("last", 1000, self._options.connect_timeout)
        if not found:
            raise Unavailable(f"{self._options.in_words} does not deliver its newest messages")
        return max(map(offset_of, found))

    async def _peek(self, place: str | datetime, limit: int, arrival: float) -> list[DeliveredMessage]:
        """Return messages from a place on: `limit` of them, or fewer if none follows soon.

        The first one may take `arrival` seconds.
        """
        channel = await self._client.channel()
        found: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
        messages: list[DeliveredMessage] = []
        with rabbitmq_errors(self._options):
            await channel.basic_qos(prefetch_count=limit)
            await channel.basic_consume(self._options.target, found.put, arguments={"x-stream-offset": place})
            with suppress(TimeoutError):
                while len(messages) < limit:
                    async with asyncio.timeout(_QUIET if messages else arrival):
                        messages.append(await found.get())
            await channel.close()
        return messages


def _replaces(first: DeliveredMessage, mark: Mark[int]) -> bool:
    """Whether the first message of a stream shows that it is another one than that of the checkpoint."""
    known = mark.facts.get(_FIRST_OFFSET)
    if not isinstance(known, int) or offset_of(first) > known:
        return False
    return offset_of(first) < known or mark.facts[_FIRST] != fingerprint(first)
