"""The messages of a RabbitMQ queue: at least once; those with a `message-id` exactly once, within the window."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.rabbitmq.client import (
    AbstractChannel,
    RabbitmqClient,
    rabbitmq_errors,
)
from services.system_api.sources.queue.rabbitmq.consumer import Consumer, Sizes
from services.system_api.sources.queue.rabbitmq.inspection import (
    QUORUM,
    Declaration,
    declaration,
    inspected,
    refuse_risks,
)
from services.system_api.sources.queue.rabbitmq.messages import from_queue, newest_tag
from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions
from services.system_api.sources.queue.recent_ids import RecentIds
from services.system_api.sources.source import Checkpoint
from shared.errors import Unavailable

logger = logging.getLogger(__name__)

_ARRIVAL = 0.5
"""Seconds in which messages that the broker has ready must arrive."""


class RabbitmqQueue:
    """A `Broker`: one queue."""

    def __init__(self, source: str, options: RabbitmqSourceOptions, checkpoint: Checkpoint) -> None:
        self._source = source
        self._options = options
        self._sizes = Sizes(options)
        self.ledger = RecentIds(options.in_words, options.dedupe_window, checkpoint)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._options.target

    async def probe(self) -> str:
        """Connect and look; see `Broker`."""
        async with RabbitmqClient.connected(self._options, self._source) as client:
            return await inspected(client, self._options)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Connect to nothing: a queue keeps no message that is published; see `Broker`."""
        yield None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["QueueConnection"]:
        """Connect; see `Broker`."""
        options = self._options
        async with RabbitmqClient.connected(options, self._source) as client:
            found = await declaration(client, options)
            if found is None:
                fields = {"component": "source", "source": self._source, "queue": options.target}
                logger.warning("queue declaration not verified; the user may not configure it", extra=fields)
            else:
                refuse_risks(found, options)
            # Only quorum queues count deliveries, and have a limit without being declared with one.
            declared = found or Declaration(arguments={"x-queue-type": QUORUM}, major_version=client.major_version)
            yield QueueConnection(client, await client.channel(), options, declared, self._sizes)


class QueueConnection:
    """A `Connection` to a queue.

    The first message is requested by itself: what is delivered again shows there, before many messages are at stake.
    """

    def __init__(
        self,
        client: RabbitmqClient,
        channel: AbstractChannel,
        options: RabbitmqSourceOptions,
        declared: Declaration,
        sizes: Sizes,
    ) -> None:
        self._client = client
        self._channel = channel
        self._options = options
        self._sizes = sizes
        self._declared = declared
        self._alone = options.exclusive and not declared.single_active_consumer
        # The end of its last consumer deletes such a queue, or hands its messages to another one.
        self._keep_all = declared.auto_delete or declared.single_active_consumer
        self._consumer = Consumer(channel, options, sizes)
        self._unacknowledged = 0
        self._begun = False
        """Whether it was found to be alone."""

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what was delivered; see `Connection`."""
        self._consumer.check()
        if not self._begun:
            await self._ready(0)
            self._begun = True
        first = limit == 1 and not self._consumer.subscribed and not self._unacknowledged and not self._keep_all
        if first and (received := await self._get()) is not None:
            return received
        if not self._consumer.subscribed or (self._consumer.outgrown and not self._unacknowledged):
            await self._subscribe()
        ready = 0 if self._consumer.waiting else await self._ready(1)
        if ready and not self._unacknowledged:
            await self._consumer.wait(_ARRIVAL)
        self._consumer.check()
        taken = self._consumer.take(limit, max_bytes)
        self._unacknowledged += len(taken)
        # What is ready and does not come waits for acknowledgements, which follow when the batch is committed.
        waiting = (f"{ready} messages wait in the broker",) if ready and not taken else ()
        return Received(
            [from_queue(delivered, self._declared) for delivered in taken], more=self._consumer.waiting, waiting=waiting
        )

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Acknowledge; see `Connection`."""
        self._unacknowledged -= len(messages)
        newest = newest_tag(messages, self._channel)
        if newest:
            with rabbitmq_errors(self._options):
                # Everything that was delivered before the newest one was taken before it, and is committed as well.
                await self._channel.basic_ack(newest, multiple=True, wait=False)

    async def wait(self) -> None:
        """Return when something was delivered; see `Connection`."""
        await self._consumer.wait()

    async def _get(self) -> Received | None:
        """Return the next message, None if there is none."""
        with rabbitmq_errors(self._options):
            delivered = await self._channel.basic_get(self._options.target, timeout=self._options.connect_timeout)
        if delivered.delivery_tag is None:
            return None
        self._sizes.note(len(delivered.body))
        self._unacknowledged += 1
        return Received([from_queue(delivered, self._declared)], more=True)

    async def _subscribe(self) -> None:
        if self._consumer.subscribed:
            # What the old channel has delivered and nobody took returns to its place in the queue.
            with rabbitmq_errors(self._options):
                await self._channel.close()
            self._channel = await self._client.channel()
            self._consumer = Consumer(self._channel, self._options, self._sizes)
        await self._consumer.subscribe(keep_all=self._keep_all)

    async def _ready(self, own: int) -> int:
        """Return how many messages the broker has ready.

        Raises:
            Unavailable: there are other consumers than our `own`, and there must not be.
        """
        with rabbitmq_errors(self._options):
            answer = await self._channel.queue_declare(
                self._options.target, passive=True, timeout=self._options.connect_timeout
            )
        # A quorum queue counts a message that was requested by itself as a consumer, until it is acknowledged.
        if self._alone and not self._unacknowledged and (answer.consumer_count or 0) > own:
            raise Unavailable(
                f"found another consumer of {self._options.in_words}, expected this source alone; stop it, or set"
                " `exclusive: false`"
            )
        return answer.message_count or 0
