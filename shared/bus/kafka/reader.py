"""The reader: returns what the `Fetcher` has fetched."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.fetcher import MAX_BYTES, Fetcher, LostPosition
from shared.bus.kafka.topics import bounds
from shared.bus.protocol import Record
from shared.errors import PositionLost, Unavailable
from shared.runtime.tasks import Tasks

_PAUSE = 0.1

_TRUNCATED_AFTER = 5.0
"""Seconds for which a position must be beyond the end before the log is considered truncated. A leader that was paused,
and does not know its successor yet, returns an older end."""


class KafkaReader:
    """A `Reader`."""

    def __init__(self, cluster: Cluster, topic: str, fetcher: Fetcher) -> None:
        self.topic = topic
        self._cluster = cluster
        self._fetcher = fetcher
        self._lost_since: dict[int, float] = {}
        """By partition, in monotonic seconds: since when the leader does not have its position."""

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset after the last record read, and after the markers that end transactions."""
        return self._fetcher.positions

    @property
    def epochs(self) -> Mapping[int, int]:
        """By partition: the leader epoch of what was read last, where it is known."""
        return self._fetcher.epochs

    @property
    def lost(self) -> bool:
        """Whether a leader does not have the position of a partition, so that `read` asks for the reason."""
        return bool(self._fetcher.lost)

    async def wait(self) -> None:
        """Return when there may be something to read."""
        await self._fetcher.updated.wait()

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return the next records."""
        fetcher, loop = self._fetcher, asyncio.get_running_loop()
        deadline = None if wait is None else loop.time() + wait
        expired = False
        while True:
            fetcher.updated.clear()
            # Before any record is taken, for all records that are taken must be returned.
            if fetcher.lost and not await self._checked(deadline):
                return ()
            if records := fetcher.take(limit):
                self._lost_since.clear()
                return records
            if expired:
                return ()
            # Not `asyncio.timeout`, which costs as much as decoding an event.
            timer = None if deadline is None else loop.call_at(deadline, fetcher.updated.set)
            try:
                await fetcher.updated.wait()
            finally:
                if timer is not None:
                    timer.cancel()
            expired = deadline is not None and loop.time() >= deadline

    def seek(self, partition: int, offset: int) -> None:
        """Read a partition from an offset on; drop what was fetched ahead."""
        self._fetcher.seek(partition, offset)

    async def _checked(self, deadline: float | None) -> bool:
        """Check all positions that a leader does not have; return whether that was done by the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                for partition, lost in list(self._fetcher.lost.items()):
                    await self._check(partition, lost)
        except TimeoutError:
            return False
        return True

    async def _check(self, partition: int, lost: LostPosition) -> None:
        """Raise `PositionLost`, unless the position can be valid: leaders may just be changing."""
        if lost.diverging_offset is not None:
            raise PositionLost(self.topic, partition, lost.offset, lost.diverging_offset, truncated=True)
        try:
            earliest, end = (await bounds(self._cluster, self.topic, end="uncommitted"))[partition]
        except Unavailable:
            return
        now = self._cluster.clock.monotonic()
        since = self._lost_since.setdefault(partition, now)
        if lost.offset < earliest or (lost.offset > end and now - since >= _TRUNCATED_AFTER):
            raise PositionLost(self.topic, partition, lost.offset, earliest)
        if lost.offset <= end and now - since >= _TRUNCATED_AFTER:
            # The leader has no record of the epoch that was read last: the log was truncated below that epoch.
            raise PositionLost(self.topic, partition, lost.offset, lost.offset, truncated=True)
        await self._cluster.clock.sleep(_PAUSE)
        self._fetcher.seek(partition, lost.offset)


@asynccontextmanager
async def kafka_reader(
    cluster: Cluster,
    topic: str,
    positions: Mapping[int, int],
    *,
    epochs: Mapping[int, int] | None = None,
    max_bytes: int = MAX_BYTES,
) -> AsyncIterator[KafkaReader]:
    """Read for as long as the context lasts; for `epochs` and `max_bytes` see `Fetcher`."""
    await cluster.topic(topic)
    tasks = Tasks()
    fetcher = Fetcher(cluster, topic, positions, tasks, epochs=epochs, max_bytes=max_bytes)
    try:
        async with tasks:
            tasks.keep(f"fetch {topic}", fetcher.run())
            yield KafkaReader(cluster, topic, fetcher)
    finally:
        await fetcher.close()
