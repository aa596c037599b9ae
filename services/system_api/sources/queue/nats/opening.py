"""Opens a NATS source at a checkpoint."""

import random

from services.system_api.sources.queue.message import Broker
from services.system_api.sources.queue.nats.options import NatsSourceOptions
from services.system_api.sources.queue.opening import MakeBroker, queue_source
from services.system_api.sources.queue.source import settings_errors
from services.system_api.sources.source import Checkpoint, SourceOpener
from shared.runtime.clock import Clock
from shared.runtime.extras import extra


class NatsSourceKind(NatsSourceOptions):
    """A stream of NATS JetStream."""

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        """Return what opens the source of this name.

        Raises:
            SettingsError: the extra `queues` is not installed.
        """
        return queue_source(name, self, self._brokers(name), clock, rng)

    async def probe(self, name: str) -> str:
        """Connect, and return what answered; see `Probing`."""
        with settings_errors(name):
            return await self._brokers(name)({}).probe()

    def _brokers(self, name: str) -> MakeBroker:
        with extra("queues", f"system.sources.{name}.kind: nats"):
            from services.system_api.sources.queue.nats.stream import NatsStream  # noqa: PLC0415 -- an extra

        def broker(checkpoint: Checkpoint) -> Broker:
            return NatsStream(name, self, checkpoint)

        return broker
