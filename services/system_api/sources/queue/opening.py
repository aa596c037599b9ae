"""Opens a queue or topic at a checkpoint: what all kinds share."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.system_api.sources.queue.deliveries import PART, Attempts, Outcomes
from services.system_api.sources.queue.events import MessageEvents
from services.system_api.sources.queue.message import Broker
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.queue.source import QueueSource, settings_errors
from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from shared.runtime.clock import Clock

MakeBroker = Callable[[Checkpoint], Broker]
"""Makes a broker that continues at a checkpoint.

Raises:
    SettingsError: the checkpoint is of another source.
"""


def queue_source(
    name: str, options: QueueSourceOptions, make: MakeBroker, clock: Clock, rng: random.Random
) -> SourceOpener:
    """Return what opens the source of this name."""
    outcomes = Outcomes()

    @asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        with settings_errors(name):
            attempts = Attempts(options.max_deliveries, outcomes, checkpoint)
            broker = make({part: value for part, value in checkpoint.items() if part != PART})
        events = MessageEvents(EventBuilder(name, options.type, options.channel, clock, rng), options, broker.name)
        async with QueueSource.opened(name, broker, events, options, attempts) as source:
            yield source

    return open_source
