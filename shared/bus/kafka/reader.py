"""The reader: what `Fetching` brings, to whoever asks for it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.fetching import Fetching, Lost
from shared.bus.kafka.topics import bounds
from shared.bus.protocol import Record
from shared.errors import PositionLost, Unavailable
from shared.runtime.tasks import Tasks

_PAUSE = 0.1

_BELIEVED_AFTER = 5.0
"""Seconds for which a position must lie beyond the end before the log is taken to have become shorter. A leader that
was paused, and has not heard yet that there is another, knows an older end."""


class KafkaReader:
    """A `Reader`."""

    def __init__(self, cluster: Cluster, topic: str, fetching: Fetching) -> None:
        self.topic = topic
        self._cluster = cluster
        self._fetching = fetching
        self._doubted: dict[int, float] = {}
        """Since when a partition's position is beyond its end, by the clock's monotonic time."""

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
                    for partition, lost in list(fetching.lost.items()):
                        await self._check(partition, lost)
                    if found := fetching.take(limit):
                        self._doubted.clear()
                        return found
                    await fetching.news.wait()
        except TimeoutError:
            return ()

    def seek(self, partition: int, offset: int) -> None:
        """Go elsewhere, and forget what was fetched ahead."""
        self._fetching.restart(partition, offset)

    async def _check(self, partition: int, lost: Lost) -> None:
        """Raise `PositionLost` unless a position is within the topic, as it can be while leaders change."""
        if lost.parted_at is not None:
            raise PositionLost(self.topic, partition, lost.offset, lost.parted_at, truncated=True)
        try:
            earliest, end = (await bounds(self._cluster, self.topic, end="uncommitted"))[partition]
        except Unavailable:
            return
        now = self._cluster.clock.monotonic()
        since = self._doubted.setdefault(partition, now)
        if lost.offset < earliest or (lost.offset > end and now - since >= _BELIEVED_AFTER):
            raise PositionLost(self.topic, partition, lost.offset, earliest)
        if lost.offset <= end and now - since >= _BELIEVED_AFTER:
            # The leader has no trace of the epoch that was read last: what lay behind it was truncated.
            raise PositionLost(self.topic, partition, lost.offset, lost.offset, truncated=True)
        await self._cluster.clock.sleep(_PAUSE)
        self._fetching.restart(partition, lost.offset)


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
