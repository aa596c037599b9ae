"""The reader: what `Fetching` brings, to whoever asks for it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.fetching import Fetching
from shared.bus.kafka.topics import bounds
from shared.bus.protocol import Record
from shared.errors import PositionLost, Unavailable
from shared.runtime.tasks import Tasks

_PAUSE = 0.1


class KafkaReader:
    """A `Reader`."""

    def __init__(self, cluster: Cluster, topic: str, fetching: Fetching) -> None:
        self.topic = topic
        self._cluster = cluster
        self._fetching = fetching

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset behind what was read, and behind the markers that end transactions."""
        return self._fetching.positions

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return what comes next."""
        fetching = self._fetching
        try:
            async with asyncio.timeout(wait):
                while True:
                    fetching.news.clear()
                    # Before anything is taken, for what is taken must be returned.
                    if fetching.out_of_range:
                        await self._check_lost()
                    if found := fetching.take(limit):
                        return found
                    await fetching.news.wait()
        except TimeoutError:
            return ()

    def seek(self, partition: int, offset: int) -> None:
        """Go elsewhere, and forget what was fetched ahead."""
        self._fetching.restart(partition, offset)

    async def _check_lost(self) -> None:
        """Raise `PositionLost` unless the position is within the topic, as it can be while leaders change."""
        partition, offset = next(iter(self._fetching.out_of_range.items()))
        try:
            earliest, end = (await bounds(self._cluster, self.topic, end="uncommitted"))[partition]
        except Unavailable:
            return
        if not earliest <= offset <= end:
            raise PositionLost(self.topic, partition, offset, earliest)
        await self._cluster.clock.sleep(_PAUSE)
        self._fetching.restart(partition, offset)


@asynccontextmanager
async def kafka_reader(cluster: Cluster, topic: str, positions: Mapping[int, int]) -> AsyncIterator[KafkaReader]:
    """Read for as long as the context lasts."""
    await cluster.topic(topic)
    async with Tasks() as tasks:
        fetching = Fetching(cluster, topic, positions, tasks)
        tasks.keep(f"reading {topic}", fetching.run())
        try:
            yield KafkaReader(cluster, topic, fetching)
        finally:
            await tasks.cancel_all()
            await fetching.close()
