"""The `Bus` in memory, for one event loop: a commit is an assignment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping

from shared.bus.memory.clients import MemoryAppender, MemoryReader, MemoryWriter
from shared.bus.memory.groups import Group, Member
from shared.bus.memory.log import MemoryRecord, Topic
from shared.bus.partition_workers import GroupTopic, PartitionWorkers, Pauses
from shared.bus.protocol import (
    Appender,
    PartitionWorker,
    Reader,
    TakeRecords,
    TopicOptions,
    TopicPartition,
    Transaction,
    Writer,
    check_size,
)
from shared.bus.replaying import replay_to_end
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

_PAUSES = Pauses(first=0.02, longest=0.5, fenced=0.05)


class MemoryBus:
    """A `Bus`; the methods beyond the protocol are for tests."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.problem: str | None = None
        self._clock = clock
        self._topics: dict[str, Topic] = {}
        self._writers: dict[str, int] = {}
        self._offsets: dict[tuple[str, TopicPartition], int] = {}
        self._groups: dict[tuple[str, str], Group] = {}
        self._written = asyncio.Event()

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Create the topics that are missing; check the others."""
        for options in topics:
            if (existing := self._topics.get(options.name)) is not None:
                existing.check(options)
            else:
                self._topics[options.name] = Topic(options)

    async def epoch(self, topic: str) -> str:
        """Return the id of a topic."""
        return self._topic(topic).epoch

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the end, by partition."""
        return {partition.number: (partition.earliest, partition.end) for partition in self._topic(topic).partitions}

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Return the end of each partition: a commit is visible at once."""
        return {number: end for number, (_, end) in (await self.bounds(topic)).items()}

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """Return the first offset at a time, by partition."""
        return {partition.number: partition.offset_at(timestamp_ms) for partition in self._topic(topic).partitions}

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the latest values of a name."""
        latest = {
            record.key: record.value
            for record in self._topic(topic)
            if record.key is not None and (record.key == name or record.key.startswith(name + b"/"))
        }
        return {key: value for key, value in latest.items() if value is not None}

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
        """Read the records of one partition up to its end."""
        return await replay_to_end(self, position, offset, each)

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that a group reads next."""
        return self._offsets.get((group, position))

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        """Become the owner of `name`."""
        generation = self._writers[name] = self._writers.get(name, 0) + 1
        yield MemoryWriter(name, self._write, lambda: self._writers[name] == generation, self.committed)

    @contextlib.asynccontextmanager
    async def appender(self) -> AsyncIterator[Appender]:
        """Open an appender."""
        yield MemoryAppender(self._write)

    @contextlib.asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        """Read partitions, each from its offset on."""
        yield MemoryReader(self._topic(topic), positions, self)

    @contextlib.asynccontextmanager
    async def join(self, topic: str, group: str, member: str, worker: PartitionWorker) -> AsyncIterator[None]:
        """Be a member of a group for as long as the context lasts."""
        partitions = self._topic(topic).partitions

        def open_reader(number: int) -> contextlib.AbstractAsyncContextManager[Reader]:
            committed = self._offsets.get((group, TopicPartition(topic, number)))
            return self.reader(topic, {number: partitions[number].earliest if committed is None else committed})

        members = self._groups.setdefault((topic, group), Group(len(partitions)))
        async with Tasks() as tasks:
            reads = GroupTopic(group, topic)
            workers = PartitionWorkers(reads, worker, open_reader, tasks, pauses=_PAUSES, clock=self._clock)
            own = Member(member, workers)
            try:
                await members.join(own)
                yield
            finally:
                await members.leave(own)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset, as retention does."""
        self._topic(topic).partitions[partition].delete_records(before)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic."""
        del self._topics[topic]

    def records(self, topic: str, partition: int) -> list[MemoryRecord]:
        """Return the records of a partition."""
        return self._topic(topic).partitions[partition].records

    async def next_write(self) -> None:
        """Return after the next write."""
        await self._written.wait()

    def _topic(self, name: str) -> Topic:
        try:
            return self._topics[name]
        except KeyError:
            raise Unavailable(f"topic {name} does not exist") from None

    def _write(self, transaction: Transaction) -> None:
        """Make a transaction visible, all of it at once."""
        topics = {name: self._topic(name) for name in transaction.records}
        places = {place: self._topic(place.topic).partitions[place.partition] for place in transaction.placed}
        batches = [*transaction.records.items(), *((place.topic, batch) for place, batch in transaction.placed.items())]
        for name, batch in batches:
            for outgoing in batch:
                check_size(name, outgoing)
        now = int(self._clock.time() * 1000)
        for name, batch in transaction.records.items():
            for outgoing in batch:
                topics[name].append(outgoing, now)
        for place, batch in transaction.placed.items():
            for outgoing in batch:
                places[place].append(outgoing, now)
        for position, offset in transaction.offsets.items():
            assert transaction.group is not None, "offsets belong to a group"
            self._offsets[transaction.group, position] = offset
        self._written.set()
        self._written = asyncio.Event()
