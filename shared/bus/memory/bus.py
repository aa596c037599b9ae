"""The `Bus` in memory. Everything happens in one event loop, so a commit is a plain assignment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping

from shared.bus.memory.clients import MemoryAppender, MemoryReader, MemoryWriter
from shared.bus.memory.groups import Group, Member
from shared.bus.memory.log import StoredRecord, Topic
from shared.bus.partition_workers import PartitionWorkers, Pauses
from shared.bus.protocol import (
    Appender,
    Drive,
    Reader,
    TopicOptions,
    TopicPartition,
    Transaction,
    Writer,
    check_size,
)
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

_PAUSES = Pauses(first=0.02, longest=0.5, fenced=0.05)


class MemoryBus:
    """Topics in lists; what is not in the protocol is there for tests."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.problem: str | None = None
        self._clock = clock
        self._topics: dict[str, Topic] = {}
        self._writers: dict[str, int] = {}
        self._offsets: dict[tuple[str, TopicPartition], int] = {}
        self._groups: dict[tuple[str, str], Group] = {}
        self._news = asyncio.Event()

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Make the topics that are missing; check the others."""
        for options in topics:
            if (known := self._topics.get(options.name)) is not None:
                known.check(options)
            else:
                self._topics[options.name] = Topic(options)

    async def epoch(self, topic: str) -> str:
        """Return what tells this topic from a later one of the same name."""
        return self._topic(topic).epoch

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the end, by partition."""
        return {kept.number: (kept.earliest, kept.end) for kept in self._topic(topic).partitions}

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the newest values under a name."""
        newest = {
            record.key: record.value
            for record in self._topic(topic)
            if record.key is not None and (record.key == name or record.key.startswith(name + b"/"))
        }
        return {key: value for key, value in newest.items() if value is not None}

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset a group is to read next."""
        return self._offsets.get((group, position))

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        """Become the owner of `name`."""
        generation = self._writers[name] = self._writers.get(name, 0) + 1
        yield MemoryWriter(name, self._write, lambda: self._writers[name] == generation, self.committed)

    @contextlib.asynccontextmanager
    async def appender(self) -> AsyncIterator[Appender]:
        """Open a way to append."""
        yield MemoryAppender(self._write)

    @contextlib.asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        """Read partitions from given offsets on."""
        yield MemoryReader(self._topic(topic), positions, self)

    @contextlib.asynccontextmanager
    async def join(self, topic: str, group: str, member: str, drive: Drive) -> AsyncIterator[None]:
        """Be a member of a group for as long as the context lasts."""
        partitions = self._topic(topic).partitions

        def open_reader(number: int) -> contextlib.AbstractAsyncContextManager[Reader]:
            settled = self._offsets.get((group, TopicPartition(topic, number)))
            return self.reader(topic, {number: partitions[number].earliest if settled is None else settled})

        peers = self._groups.setdefault((topic, group), Group(len(partitions)))
        async with Tasks() as tasks:
            driving = PartitionWorkers(f"{group} {topic}", drive, open_reader, tasks, pauses=_PAUSES, clock=self._clock)
            me = Member(member, driving)
            try:
                await peers.enter(me)
                yield
            finally:
                await peers.leave(me)

    def forget(self, topic: str, partition: int, below: int) -> None:
        """Do what retention does: drop the records below an offset."""
        self._topic(topic).partitions[partition].forget(below)

    def delete(self, topic: str) -> None:
        """Forget a whole topic."""
        del self._topics[topic]

    def records(self, topic: str, partition: int) -> list[StoredRecord]:
        """Return what a partition holds."""
        return self._topic(topic).partitions[partition].records

    async def news(self) -> None:
        """Return after the next write."""
        await self._news.wait()

    def _topic(self, name: str) -> Topic:
        try:
            return self._topics[name]
        except KeyError:
            raise Unavailable(f"topic {name} does not exist") from None

    def _write(self, transaction: Transaction) -> None:
        """Make a transaction visible, all of it at once."""
        topics = {name: self._topic(name) for name in transaction.records}
        for name, batch in transaction.records.items():
            for outgoing in batch:
                check_size(name, outgoing)
        now = int(self._clock.time() * 1000)
        for name, batch in transaction.records.items():
            for outgoing in batch:
                topics[name].append(outgoing, now)
        for position, offset in transaction.offsets.items():
            assert transaction.group is not None, "offsets belong to a group"
            self._offsets[transaction.group, position] = offset
        self._news.set()
        self._news = asyncio.Event()
