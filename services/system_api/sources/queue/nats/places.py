"""Finds places in a stream, beside its consumers."""

from datetime import datetime
from typing import Literal

from services.system_api.sources.queue.nats.client import (
    AckPolicy,
    Client,
    ConsumerConfig,
    DeliverPolicy,
    JetStreamContext,
    RetentionPolicy,
    nats_errors,
)
from services.system_api.sources.queue.nats.options import NatsSourceOptions
from services.system_api.sources.queue.positions import Positions
from services.system_api.sources.source import Checkpoint
from shared.errors import Malformed

_THRESHOLD = 60.0
"""Seconds after which the server deletes the consumer, if this process cannot."""


class NatsPlaces:
    """A `RewindableConnection` to a stream."""

    def __init__(
        self, client: Client, jetstream: JetStreamContext, options: NatsSourceOptions, positions: Positions[int]
    ) -> None:
        self._client = client
        self._jetstream = jetstream
        self._options = options
        self._positions = positions

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`. A time is that at which the stream got a message."""
        with nats_errors(self._options, self._client):
            stream = await self._jetstream.stream_info(self._options.stream)
            if stream.config.retention != RetentionPolicy.LIMITS:
                raise Malformed(
                    f"{self._options.in_words} keeps no message that is acknowledged"
                    f" ({stream.config.retention} retention); expected a position"
                )
            at = stream.state.last_seq if place == "end" else max(0, stream.state.first_seq - 1)
            if isinstance(place, datetime):
                at = await sequence_before(self._jetstream, self._options, place)
        return self._positions.checkpoint_after({"": at})


async def sequence_before(jetstream: JetStreamContext, options: NatsSourceOptions, time: datetime) -> int:
    """Return the sequence before the first message that the stream got at a time or later.

    A consumer that begins at the time tells it; it is deleted again.
    """
    config = ConsumerConfig(
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_TIME,
        opt_start_time=time.isoformat().replace("+00:00", "Z"),  # type: ignore[arg-type] # sent as it is
        inactive_threshold=_THRESHOLD,
        mem_storage=True,
    )
    consumer = await jetstream.add_consumer(options.stream, config)
    await jetstream.delete_consumer(options.stream, consumer.name)
    return int(consumer.delivered.stream_seq) if consumer.delivered else 0
