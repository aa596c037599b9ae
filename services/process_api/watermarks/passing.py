"""Follows the watermarks of sources, and writes those of channels once all that is below them is processed.

Every replica follows them; the one that processes the first partition writes. Two that do so for a moment, or one that
was fenced, write the same truth twice: what the group has committed stays processed.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from services.process_api.operations.statuses import ReplicaStatus
from services.process_api.pipeline.selection import Selection
from services.process_api.watermarks.waiting import Waiting, WaitingMarks, channels_for, parts_of
from shared.bus.protocol import Appender, Bus, Record, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import PositionLost, Unavailable
from shared.events.watermark import Watermark, vector, watermarks_about
from shared.runtime.clock import Clock

_CHECK_INTERVAL = 1.0
"""Seconds between two looks at how far the partitions are, while a watermark waits."""
_PAUSE = 1.0


class Watched(NamedTuple):
    """What a replica knows of the process layer."""

    selection: Callable[[], Selection]
    """The pipelines of this replica."""
    partitions: Callable[[], Collection[int]]
    """The partitions of the ingest topic that it processes."""
    replicas: Callable[[], Sequence[ReplicaStatus]]
    """The statuses of all replicas."""


class Watermarks:
    """The watermarks of a deployment."""

    def __init__(self, topics: TopicsOptions, group: str, watched: Watched, clock: Clock) -> None:
        """`group` is the consumer group of the process layer."""
        self._topics = topics
        self._group = group
        self._watched = watched
        self._clock = clock
        self._waiting = WaitingMarks()

    async def run(self, bus: Bus) -> None:
        """Follow and write until cancelled."""
        position = None
        while True:
            try:
                if position is None:
                    position = (await bus.bounds(self._topics.watermarks))[0][1]
                async with bus.reader(self._topics.watermarks, {0: position}) as reader, bus.appender() as appender:
                    while True:
                        self.take(await reader.read(wait=_CHECK_INTERVAL))
                        position = reader.positions[0]
                        await self.pass_on(bus, appender)
            except PositionLost:
                position = None
            except Unavailable:
                await self._clock.sleep(_PAUSE)  # the bus reports that as its own problem

    def take(self, records: Sequence[Record]) -> None:
        """Take records of the topic of watermarks."""
        for mark in watermarks_about(self._topics.ingest, records):
            self._waiting.add(mark)

    def _agreed(self) -> bool:
        """Return whether all replicas run the same pipelines: otherwise it is not known where events are."""
        versions = [
            {name: activity.version for name, activity in status.pipelines.items()}
            for status in self._watched.replicas()
        ]
        return all(each == versions[0] for each in versions)

    async def pass_on(self, bus: Bus, appender: Appender) -> None:
        """Write what is due, if that is for this replica: each watermark whose last part is processed."""
        if 0 not in self._watched.partitions() or not self._agreed():
            return
        unknown = self._waiting.unknown()
        self._waiting.processed(dict(zip(unknown, await self._committed(bus, unknown), strict=True)))
        for waiting in self._waiting.passed():
            pipelines = self._watched.selection().of(waiting.mark.source.encode())
            if waiting.parts < parts_of(pipelines):
                self._waiting.go_on(waiting, vector(await bus.ends(self._topics.ingest)))
                continue
            if channels := channels_for(pipelines):
                await self._write(bus, appender, waiting, channels)
            self._waiting.end(waiting)

    async def _committed(self, bus: Bus, partitions: Sequence[int]) -> list[int]:
        if not partitions:
            return []
        bounds = await bus.bounds(self._topics.ingest)
        found = await asyncio.gather(
            *(bus.committed(self._group, TopicPartition(self._topics.ingest, number)) for number in partitions)
        )
        earliest = [bounds[number][0] for number in partitions]
        return [first if offset is None else offset for first, offset in zip(earliest, found, strict=True)]

    async def _write(self, bus: Bus, appender: Appender, waiting: Waiting, channels: list[str]) -> None:
        """Write a watermark about the publish topic. All that was published before is below the ends asked for here."""
        topic = self._topics.publish
        epoch = await bus.epoch(topic)
        ends = vector(await bus.ends(topic))
        mark = Watermark(waiting.mark.source, waiting.mark.as_of, topic, epoch, ends, channels)
        await appender.append(self._topics.watermarks, [mark.record()])
