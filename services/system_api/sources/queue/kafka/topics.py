"""Topics of Kafka, exactly once: the checkpoint holds the offset of the last published record of each partition."""

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from services.system_api.sources.queue.kafka.connection import KafkaConnection
from services.system_api.sources.queue.kafka.following import CONFIGS, refuse_risks
from services.system_api.sources.queue.kafka.lag import LagReport
from services.system_api.sources.queue.kafka.options import KafkaSourceOptions
from services.system_api.sources.queue.positions import Positions
from services.system_api.sources.source import Checkpoint
from shared.bus.kafka.bus import connected_cluster
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.topics import bounds, described_configs
from shared.errors import Unauthorized, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK

logger = logging.getLogger(__name__)


class KafkaTopics:
    """A `Broker`: the topics of one source."""

    def __init__(self, source: str, options: KafkaSourceOptions, checkpoint: Checkpoint) -> None:
        self._source = source
        self._options = options
        self.ledger = Positions(options.in_words, int, checkpoint)

    @property
    def name(self) -> str:
        """The topics: the one topic, or all of them in words."""
        topics = self._options.topics or ()
        return topics[0] if len(topics) == 1 else self._options.in_words

    async def probe(self) -> str:
        """Connect and look; see `Broker`."""
        async with connected_cluster(self._options.cluster, clock=SYSTEM_CLOCK, place="") as cluster:
            names = await self._existing(cluster)
            await self._refuse_risks(cluster, names)
            found = [each for name in names for each in (await bounds(cluster, name)).values()]
        offsets = sum(end - earliest for earliest, end in found)
        return f"{len(names)} topics, {len(found)} partitions, {offsets} offsets"

    def looking(self) -> AbstractAsyncContextManager[KafkaConnection]:
        """Connect to look; see `Broker`. A reader disturbs no other one."""
        return self.connected()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[KafkaConnection]:
        """Connect; see `Broker`."""
        options = self._options
        async with connected_cluster(options.cluster, clock=SYSTEM_CLOCK, place="") as cluster:
            await self._refuse_risks(cluster, await self._existing(cluster))
            lag = LagReport(self._source, cluster, options.group)
            connection = KafkaConnection(self._source, cluster, options, self.ledger, lag)
            try:
                await connection.open()
                yield connection
            finally:
                await connection.close()

    async def _existing(self, cluster: Cluster) -> list[str]:
        """Return the topics of the settings.

        Raises:
            Unavailable: one of them does not exist.
        """
        if self._options.pattern is not None:
            return [name for name in await cluster.topic_names() if self._options.matches(name)]
        names = list(self._options.topics or ())
        found = await cluster.refresh(names)
        missing = [name for name in names if name not in found]
        for name in missing:
            self._options.note_missing(name)
        if missing:
            raise Unavailable(
                f"Kafka at {cluster.options.servers}: topic {missing[0]!r} does not exist, or the account may not"
                " describe it; its owner must create it, or grant Describe and Read"
            )
        return names

    async def _refuse_risks(self, cluster: Cluster, names: list[str]) -> None:
        if not names:
            return
        try:
            configs = await described_configs(cluster, names, CONFIGS)
        except Unauthorized as exc:
            fields = {"component": "source", "source": self._source, "error": str(exc)}
            logger.warning("topic configs not verified; the account may not describe them", extra=fields)
            return
        for name in names:
            refuse_risks(name, configs[name], self._options)
