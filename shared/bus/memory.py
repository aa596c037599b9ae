"""The bus in memory: for unit tests, with every promise of the protocol and no server."""

import asyncio
import contextlib
import itertools
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.bus.protocol import (
    Drive,
    Headers,
    Outgoing,
    Reader,
    Record,
    TopicOptions,
    TopicPartition,
    Transaction,
    partition_of,
)
from shared.clock import SYSTEM_CLOCK, Clock
from shared.errors import Fenced, PositionLost, SettingsError, TooLarge
from shared.tasks import Tasks, cancelled

logger = logging.getLogger(__name__)

RECORD_LIMIT = 4 * 1024 * 1024
_PAUSE_AFTER_FAILURE = 0.05


def _check(has: TopicOptions, wanted: TopicOptions) -> None:
    for what in ("partitions", "compact"):
        if getattr(has, what) != getattr(wanted, what):
            raise SettingsError(
                f"topic {has.name}: {what} is {getattr(has, what)}, the settings say {getattr(wanted, what)}"
            )


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A `Record` as this bus keeps it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class _Topic:
    options: TopicOptions
    partitions: list[list[StoredRecord]]
    epoch: str
    ends: list[int] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Member:
    """One member of a group, and the partitions that are driven by it."""

    name: str
    drive: Drive
    tasks: Tasks
    driven: dict[int, asyncio.Task[None]] = field(default_factory=dict)


class MemoryBus:
    """Topics in lists. Everything happens in one event loop, so a commit is a plain assignment."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.trouble: str | None = None
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._writers: dict[str, int] = {}
        self._offsets: dict[tuple[str, TopicPartition], int] = {}
        self._groups: dict[tuple[str, str], list[_Member]] = {}
        self._rebalance = asyncio.Lock()
        self._news = asyncio.Event()

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        for options in topics:
            known = self._topics.get(options.name)
            if known is None:
                self._topics[options.name] = _Topic(
                    options,
                    [[] for _ in range(options.partitions)],
                    uuid.uuid4().hex,
                    [0] * options.partitions,
                )
            else:
                _check(known.options, options)

    async def epoch(self, topic: str) -> str:
        return self._topics[topic].epoch

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        kept = self._topics[topic]
        return {
            number: (records[0].offset if records else kept.ends[number], kept.ends[number])
            for number, records in enumerate(kept.partitions)
        }

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        newest = {
            record.key: record.value
            for records in self._topics[topic].partitions
            for record in records
            if record.key is not None and (record.key == name or record.key.startswith(name + b"/"))
        }
        return {key: value for key, value in newest.items() if value is not None}

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        return self._offsets.get((group, position))

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator["MemoryWriter"]:
        self._writers[name] = self._writers.get(name, 0) + 1
        yield MemoryWriter(self, name, self._writers[name])

    @contextlib.asynccontextmanager
    async def appender(self) -> AsyncIterator["MemoryAppender"]:
        yield MemoryAppender(self)

    @contextlib.asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        yield MemoryReader(self, topic, positions)

    @contextlib.asynccontextmanager
    async def join(self, topic: str, group: str, member: str, drive: Drive) -> AsyncIterator[None]:
        async with Tasks() as tasks:
            me = _Member(member, drive, tasks)
            members = self._groups.setdefault((topic, group), [])
            members.append(me)
            try:
                await self._assign(topic, group)
                yield
            finally:
                members.remove(me)
                for task in me.driven.values():
                    await cancelled(task)
                await self._assign(topic, group)

    def forget(self, topic: str, partition: int, below: int) -> None:
        """Do what retention does: drop the records below an offset."""
        records = self._topics[topic].partitions[partition]
        records[:] = [record for record in records if record.offset >= below]

    def records(self, topic: str, partition: int) -> list[StoredRecord]:
        """Return what a partition holds."""
        return self._topics[topic].partitions[partition]

    def end(self, topic: str, partition: int) -> int:
        """Return the offset after the last record."""
        return self._topics[topic].ends[partition]

    def owns(self, name: str, generation: int) -> bool:
        """Whether no newer writer has taken the name."""
        return self._writers[name] == generation

    async def news(self) -> None:
        """Wait for the next write."""
        await self._news.wait()

    def write(self, transaction: Transaction) -> None:
        """Make a transaction visible, all of it at once.

        Raises:
            TooLarge: a record is above `RECORD_LIMIT`; nothing was written.
        """
        for topic, batch in transaction.records.items():
            for outgoing in batch:
                if (size := len(outgoing.value or b"")) > RECORD_LIMIT:
                    raise TooLarge(f"{topic}: a record of {size} bytes, the limit is {RECORD_LIMIT}")
        for topic, batch in transaction.records.items():
            self._store(self._topics[topic], batch)
        for position, offset in transaction.offsets.items():
            assert transaction.group is not None, "offsets belong to a group"
            self._offsets[transaction.group, position] = offset
        self._news.set()
        self._news = asyncio.Event()

    def _store(self, topic: _Topic, batch: Sequence[Outgoing]) -> None:
        now = int(self._clock.time() * 1000)
        for key, value, headers in batch:
            number = partition_of(key, len(topic.partitions))
            topic.partitions[number].append(
                StoredRecord(topic.options.name, number, topic.ends[number], now, key, value, tuple(headers))
            )
            topic.ends[number] += 1

    async def _assign(self, topic: str, group: str) -> None:
        """Deal the partitions out evenly, taking away before giving."""
        async with self._rebalance:
            members = self._groups[topic, group]
            wanted: dict[int, _Member] = dict(
                zip(range(len(self._topics[topic].partitions)), itertools.cycle(members), strict=False)
            )
            for member in members:
                for number in [number for number in member.driven if wanted[number] is not member]:
                    await cancelled(member.driven.pop(number))
            for number, member in wanted.items():
                if number not in member.driven:
                    work = self._drive(member, topic, group, number)
                    member.driven[number] = member.tasks.start(f"{group} {topic}/{number}", work)

    async def _drive(self, member: _Member, topic: str, group: str, partition: int) -> None:
        while True:
            earliest = (await self.bounds(topic))[partition][0]
            start = self._offsets.get((group, TopicPartition(topic, partition)), earliest)
            try:
                await member.drive(MemoryReader(self, topic, {partition: start}))
            except Exception:
                logger.exception("%s: the drive of %s/%d failed", group, topic, partition)
            await self._clock.sleep(_PAUSE_AFTER_FAILURE)


class MemoryWriter:
    """A `Writer`; commits at once."""

    def __init__(self, bus: MemoryBus, name: str, generation: int) -> None:
        self._bus = bus
        self._name = name
        self._generation = generation

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        done = asyncio.get_running_loop().create_future()
        if not self._bus.owns(self._name, self._generation):
            raise Fenced(f"writer {self._name}: a newer one has taken over")
        self._bus.write(transaction)
        done.set_result(None)
        return done

    async def commit(self, transaction: Transaction) -> None:
        await (await self.submit(transaction))


class MemoryAppender:
    """An `Appender`; appends at once."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        self._bus.write(Transaction({topic: list(records)}))


class MemoryReader:
    """A `Reader` over the bus's lists."""

    def __init__(self, bus: MemoryBus, topic: str, positions: Mapping[int, int]) -> None:
        self.topic = topic
        self.positions = dict(positions)
        self._bus = bus

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        try:
            async with asyncio.timeout(wait):
                while not (found := self._take(limit)):
                    await self._bus.news()
        except TimeoutError:
            return ()
        return found

    def seek(self, partition: int, offset: int) -> None:
        self.positions[partition] = offset

    def _take(self, limit: int) -> list[StoredRecord]:
        taken: list[StoredRecord] = []
        for partition, offset in self.positions.items():
            records = self._bus.records(self.topic, partition)
            earliest = records[0].offset if records else self._bus.end(self.topic, partition)
            if offset < earliest:
                raise PositionLost(self.topic, partition, offset, earliest)
            start = len(records) - (self._bus.end(self.topic, partition) - offset)
            fresh = records[start : start + limit - len(taken)]
            if fresh:
                taken += fresh
                self.positions[partition] = fresh[-1].offset + 1
        return taken
