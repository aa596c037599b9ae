"""Opens a queue or topic at a checkpoint: what all kinds share."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from services.system_api.sources.queue.deliveries import PART, Attempts, Outcomes
from services.system_api.sources.queue.events import MessageEvents
from services.system_api.sources.queue.inquiry import QueueInquiry
from services.system_api.sources.queue.message import Broker
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.queue.source import QueueSource, settings_errors
from services.system_api.sources.source import Checkpoint, EventBuilder, Source, SourceOpener
from shared.runtime.clock import Clock
from shared.runtime.extras import extra

BrokerClass = Callable[[str, Any, Checkpoint], Broker]
"""Makes a broker from the name of the source, its settings and its checkpoint.

Raises:
    SettingsError: the checkpoint is of another source.
"""


class QueueSourceKind(QueueSourceOptions):
    """A kind of queue or topic; each derives from this class and names its broker."""

    EXTRA: ClassVar[str] = "queues"
    """The extra that holds the client library."""

    def broker_class(self) -> BrokerClass:
        """Import and return the class of the broker; an import error names the extra."""
        raise NotImplementedError

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name.

        Raises:
            SettingsError: the client library is not installed.
        """
        make = self._installed(name)
        outcomes, options = Outcomes(), self.of_one_run()

        @asynccontextmanager
        async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
            with settings_errors(name):
                attempts = Attempts(self.max_deliveries, outcomes, checkpoint)
                broker = make(name, options, {part: value for part, value in checkpoint.items() if part != PART})
            events = MessageEvents(EventBuilder(name, self.type, self.channel, clock, rng), self, broker.name)
            async with QueueSource.opened(name, broker, events, self, attempts) as source:
                yield source

        return open_source

    def inquirer(self, name: str, _clock: Clock, _rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name to ask it; see `Inquirable`."""
        make = self._installed(name)

        @asynccontextmanager
        async def open_inquiry(checkpoint: Checkpoint) -> AsyncIterator[Source]:
            with settings_errors(name):
                broker = make(name, self, {part: value for part, value in checkpoint.items() if part != PART})
                async with QueueInquiry.opened(broker) as inquiry:
                    yield inquiry

        return open_inquiry

    async def probe(self, name: str) -> str:
        """Connect, and return what answered; see `Probing`."""
        with settings_errors(name):
            return await self._installed(name)(name, self, {}).probe()

    def _installed(self, name: str) -> BrokerClass:
        with extra(self.EXTRA, f"system.sources.{name}.kind: {getattr(self, 'kind', '')}"):
            return self.broker_class()
