"""Finds the sequence at a time."""

from datetime import datetime

from services.system_api.sources.queue.nats.client import AckPolicy, ConsumerConfig, DeliverPolicy, JetStreamContext
from services.system_api.sources.queue.nats.options import NatsSourceOptions

_THRESHOLD = 60.0
"""Seconds after which the server deletes the consumer, if this process cannot."""


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
