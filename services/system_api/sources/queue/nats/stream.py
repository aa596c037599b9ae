"""A JetStream stream, exactly once: the checkpoint holds the sequence of the last message that was published.

    stream      is it still the stream of the checkpoint, and what has it removed?
    consumer    created where it is missing, at the place of the checkpoint
    recover     what an earlier connection got and did not publish comes first, in order

Everything is acknowledged as well, so that streams with work-queue or interest retention can remove it.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.system_api.sources.queue.nats.client import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    JetStreamContext,
    NotFoundError,
    RetentionPolicy,
    StreamInfo,
    connected,
    nats_errors,
)
from services.system_api.sources.queue.nats.connection import NatsConnection
from services.system_api.sources.queue.nats.inspection import follow_stream, refuse_consumer, refuse_stream
from services.system_api.sources.queue.nats.options import NatsSourceOptions
from services.system_api.sources.queue.nats.places import NatsPlaces
from services.system_api.sources.queue.nats.recovery import Recovery
from services.system_api.sources.queue.positions import Positions
from services.system_api.sources.source import Checkpoint, Loss

_RECOVERY_WAIT = 0.2
"""Seconds of `ack_wait` while a consumer is recovered: everything that is not acknowledged expires."""


class NatsStream:
    """A `Broker`: one stream."""

    def __init__(self, source: str, options: NatsSourceOptions, checkpoint: Checkpoint) -> None:
        self._source = source
        self._options = options
        self._durable = options.durable(source)
        self._description = f"Trelay source {source}"
        self._recovery = Recovery()
        self.ledger = Positions(options.in_words, int, checkpoint)

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._options.stream

    async def probe(self) -> str:
        """Connect and look; see `Broker`."""
        options = self._options
        async with connected(options, self._source, lambda: None) as client:
            jetstream = client.jetstream(timeout=options.connect_timeout)
            with nats_errors(options, client):
                stream = await self._stream(jetstream)
                try:
                    consumer = await jetstream.consumer_info(options.stream, self._durable)
                except NotFoundError:
                    return f"stream {options.stream!r}, {stream.state.messages} messages; no consumer yet"
        refuse_consumer(consumer, options)
        return f"stream {options.stream!r}, consumer {self._durable!r}, {consumer.num_pending or 0} messages wait"

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[NatsPlaces]:
        """Connect to look; see `Broker`. The consumer is left as it is."""
        options = self._options
        async with connected(options, self._source, lambda: None) as client:
            jetstream = client.jetstream(timeout=options.connect_timeout)
            with nats_errors(options, client):
                stream = await self._stream(jetstream)
            self.ledger.losses += follow_stream(stream, self.ledger.of(), options)
            yield NatsPlaces(client, jetstream, options, self.ledger)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[NatsConnection]:
        """Connect; see `Broker`."""
        options = self._options
        lost = asyncio.Event()
        async with connected(options, self._source, lost.set) as client:
            jetstream = client.jetstream(timeout=options.connect_timeout)
            with nats_errors(options, client):
                stream = await self._stream(jetstream)
                self.ledger.losses += follow_stream(stream, self.ledger.of(), options)
                consumer = await self._consumer(jetstream, stream)
                refuse_consumer(consumer, options)
                consumer = await self._recover(jetstream, consumer)
            recovery = self._recovery if self._is_ours(consumer) else None
            connection = NatsConnection(client, jetstream, consumer, options, self.ledger, recovery)
            connection.arrived = lost
            await connection.open()
            yield connection

    async def _stream(self, jetstream: JetStreamContext) -> StreamInfo:
        """Return the stream, if its settings lose nothing."""
        stream: StreamInfo = await jetstream.stream_info(self._options.stream)
        refuse_stream(stream, self._options)
        return stream

    async def _consumer(self, jetstream: JetStreamContext, stream: StreamInfo) -> ConsumerInfo:
        """Return the consumer; create it where it is missing, and where it is ahead of the checkpoint."""
        name = self._options.stream
        mark = self.ledger.of()
        try:
            consumer: ConsumerInfo = await jetstream.consumer_info(name, self._durable)
        except NotFoundError:
            if mark.mark is not None and stream.config.retention == RetentionPolicy.INTEREST:
                self.ledger.losses.append(
                    Loss(
                        f"consumer {self._durable!r} of {self._options.in_words} was deleted: messages that were sent"
                        " until it was created again are lost, as the stream keeps none without a consumer"
                    )
                )
            return await self._create(jetstream, stream)
        acknowledged = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
        limits = stream.config.retention == RetentionPolicy.LIMITS
        if limits and self._is_ours(consumer) and acknowledged > (mark.highest or 0):
            # The source was rewound: what the consumer has acknowledged is to be read again.
            await jetstream.delete_consumer(name, self._durable)
            return await self._create(jetstream, stream)
        return consumer

    async def _create(self, jetstream: JetStreamContext, stream: StreamInfo) -> ConsumerInfo:
        mark = self.ledger.of().mark
        from_mark = mark is not None and stream.config.retention == RetentionPolicy.LIMITS
        config = ConsumerConfig(
            durable_name=self._durable,
            description=self._description,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._options.ack_wait,
            max_deliver=-1,
            max_ack_pending=self._options.prefetch,
            filter_subject=self._options.filter,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE if from_mark else DeliverPolicy.ALL,
            opt_start_seq=mark + 1 if from_mark and mark is not None else None,
        )
        return await _added(jetstream, self._options.stream, config)

    async def _recover(self, jetstream: JetStreamContext, consumer: ConsumerInfo) -> ConsumerInfo:
        """Have everything delivered again that an earlier connection got and did not publish.

        The server does so once `ack_wait` is over, and would deliver newer messages before. So `ack_wait` is set to
        almost nothing for a moment in which no message is requested.
        """
        if not self._is_ours(consumer):
            return consumer
        delivered = consumer.delivered.stream_seq if consumer.delivered else 0
        if consumer.num_ack_pending and delivered > (self.ledger.of().mark or 0):
            await self._set_ack_wait(jetstream, consumer, _RECOVERY_WAIT)
            await asyncio.sleep(self._recovery.wait)
            return await self._set_ack_wait(jetstream, consumer, self._options.ack_wait)
        if consumer.config.ack_wait != self._options.ack_wait:
            # Also after a crash in the middle of a recovery.
            return await self._set_ack_wait(jetstream, consumer, self._options.ack_wait)
        return consumer

    async def _set_ack_wait(self, jetstream: JetStreamContext, consumer: ConsumerInfo, seconds: float) -> ConsumerInfo:
        config = dataclasses.replace(consumer.config, ack_wait=seconds)
        return await _added(jetstream, self._options.stream, config)

    def _is_ours(self, consumer: ConsumerInfo) -> bool:
        return consumer.config.description == self._description


async def _added(jetstream: JetStreamContext, stream: str, config: ConsumerConfig) -> ConsumerInfo:
    """Create a consumer, or change the one of this name; return it."""
    consumer: ConsumerInfo = await jetstream.add_consumer(stream, config)
    return consumer
