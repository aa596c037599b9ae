"""A deployment in memory, of the parts that deliver: replicas, the log, the table of latest events, and clients."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from services.experience_api.hub.audience import Interest, Subscriber, interest_in
from services.experience_api.hub.close_codes import LOST
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import HeartbeatOptions
from services.experience_api.hub.hub import Hub, HubOptions
from services.experience_api.latest.opening import Latest
from services.experience_api.latest.options import LatestOptions
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.stream.broadcast import Broadcast
from services.experience_api.stream.catching_up.catch_up import CatchUp
from services.experience_api.stream.catching_up.replay_writer import ReplayWriter
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import NOT_KEPT, ControlEvents
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import LogReader, LogReaderOptions
from services.experience_api.stream.snapshots.connecting import Beginning
from services.experience_api.stream.snapshots.opening import SnapshotParts
from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.deflate import CompressionOptions, Deflater
from services.experience_api.wire.records import FrameEncoder
from shared.bus.memory import MemoryBus
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Outgoing, Reader, Record, TopicOptions
from shared.errors import Unavailable
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.latest.memory import MemoryLatest

TOPIC = "trelay.publish"
PARTITIONS = 3
CHANNELS = ("a", "b", "c", "d.x", "d.y")
KEPT = Kept(["**"], ["*.deleted"])
OUTBOX = 6000
_HIGH_WATER = 2000


class Published(NamedTuple):
    """One event of the log."""

    id: str
    partition: int
    offset: int
    channel: str
    subject: str
    n: int
    gone: bool

    @property
    def about(self) -> tuple[str, str]:
        """What it is the state of."""
        return self.channel, self.subject

    def wanted(self, interest: Interest) -> bool:
        """Return whether a subscriber receives it."""
        channel = self.channel.encode()
        found = [interest.filters.get(each) for each in interest.patterns if interest_in([each]).matches(channel)]
        return any(each is None or self.n > int(each.rpartition(" ")[2]) for each in found)


class AbsentBus(MemoryBus):
    """Cannot be read so many times."""

    def __init__(self) -> None:
        super().__init__()
        self.away = 0

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        self._attempt()
        async with super().reader(topic, positions) as reader:
            yield reader

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        self._attempt()
        return await super().bounds(topic)

    def _attempt(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("away")


class SlowTransport(FakeTransport):
    """Pauses its connection as a transport does."""

    connection: Connection | None = None

    def write(self, data: bytes | memoryview) -> None:
        super().write(data)
        self._tell()

    def peer_reads(self, size: int) -> None:
        super().peer_reads(size)
        self._tell()

    def _tell(self) -> None:
        if self.connection is None or self.connection.ending is not None:
            return
        if len(self.buffered) > _HIGH_WATER and not self.connection.congested:
            self.connection.pause_writing()
        elif len(self.buffered) < _HIGH_WATER // 4 and self.connection.congested:
            self.connection.resume_writing()


class Replica:
    """One replica, which reads as far as it is told."""

    def __init__(self, world: "World", start: Vector) -> None:
        self.world = world
        rng, bus, clock = world.rng, world.bus, world.clock
        self.history = History(world.codec, start, HistoryOptions(limit_bytes=rng.choice([1024, 4096, 100_000])))
        chunk = rng.choice([1024, 4096, 65_536])
        log_reader = LogReader(bus, world.topic, LogReaderOptions(readers=rng.choice([1, 3]), chunk_bytes=chunk))
        self.control_events, deflater = (
            ControlEvents(clock, 25.0, 1_048_576),
            Deflater(CompressionOptions(enabled=True)),
        )
        compressing = Compressing(deflater)
        self.hub = Hub(HubOptions.model_construct(outbox_bytes=OUTBOX, heartbeat=HeartbeatOptions()), clock, deflater)
        writer = ReplayWriter(
            self.history, log_reader, self.control_events, compressing, drain_timeout=600.0, pause=self._pause
        )
        round_bytes = rng.choice([1, 2000, 65_536])
        self.catch_up = CatchUp(
            self.history, writer, self.control_events, self.hub.join, round_bytes=round_bytes, clock=clock
        )
        parts = SnapshotParts(self.history, log_reader, writer, self.control_events, clock, self._pause)
        options = LatestOptions(channels=("**",), readers=1, page_bytes=1024)
        snapshots = parts.snapshots(Latest(options, world.latest, world.latest), self._proceed)
        assert snapshots is not None
        self.snapshots = snapshots
        self.broadcast = Broadcast(self.history, self.hub, self.catch_up, self.control_events, compressing, snapshots)
        self.beginning = Beginning(log_reader, self.history, snapshots, lambda: True)
        self._encoder = FrameEncoder(world.codec, start)

    def feed(self, partition: int, limit: int) -> None:
        """Read on in one partition, or behind what is no longer kept."""
        head, earliest = self.history.head[partition], self.world.earliest[partition]
        if head < earliest:
            vector = tuple(earliest if number == partition else at for number, at in enumerate(self.history.head))
            self.history.restart(self.world.codec, vector)
            self._encoder = FrameEncoder(self.world.codec, vector)
            self.broadcast.on_gap(NOT_KEPT, "retention")
        found = self.world.records(partition, self.history.head[partition], limit)
        for batch in self._encoder.batches(found):
            self.broadcast.deliver(batch)

    async def _pause(self) -> None:
        self.world.clock.pass_time(0.6)
        await asyncio.sleep(0)

    def _proceed(self, connection: Connection, vector: Vector, tells: bool) -> None:
        self.broadcast.proceed(connection, vector, tells=tells)


@dataclass
class World:
    """What all replicas share."""

    rng: random.Random
    bus: Any = field(default_factory=AbsentBus)
    topic: str = TOPIC
    clock: StillClock = field(default_factory=StillClock)
    log: list[Published] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    codec: CursorCodec = field(init=False)
    earliest: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    """The first offset of each partition that is kept."""

    def __post_init__(self) -> None:
        self.latest: Any = MemoryLatest(rows_of_a_page=self.rng.choice([1, 2, 500]))
        self._stack = AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def opened(cls, seed: int) -> AsyncIterator["World"]:
        world = cls(random.Random(seed))
        await world.bus.ensure_topics([TopicOptions(name=TOPIC, partitions=PARTITIONS)])
        async with world.running():
            yield world

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run two replicas on the topic."""
        self.codec = CursorCodec(await self.bus.epoch(self.topic), PARTITIONS)
        async with self._stack:
            await self.copy(0)
            for _ in range(2):
                self.replicas.append(await self.start((0,) * PARTITIONS))
            yield

    async def turn(self) -> None:
        """Let everything do what it can now."""
        await asyncio.sleep(0)

    async def start(self, vector: Vector) -> Replica:
        replica = Replica(self, vector)
        await self._stack.enter_async_context(replica.catch_up)
        await self._stack.enter_async_context(replica.snapshots)
        return replica

    @property
    def ends(self) -> Vector:
        """The end of each partition."""
        found = [0] * PARTITIONS
        for each in self.log:
            found[each.partition] = each.offset + 1
        return tuple(found)

    def records(self, partition: int, offset: int, limit: int) -> Sequence[Record]:
        """Return the records of a partition from an offset on."""
        kept = [each for each in self.kept(partition) if each.offset >= offset]
        return kept[:limit]

    def kept(self, partition: int) -> Sequence[Record]:
        """Return the records that a partition has."""
        found: Sequence[Record] = self.bus.records(self.topic, partition)
        return found

    def drop(self, partition: int, count: int) -> None:
        """Keep so many records less, of those that the table has."""
        assert self.latest.stored is not None
        before = min(self.earliest[partition] + count, self.latest.stored.view.positions[partition])
        self.bus.delete_records(self.topic, partition, before)
        self.earliest[partition] = before

    async def publish(self, channel: str, subject: str, n: int, *, gone: bool, fill: int) -> None:
        identity = str(len(self.log))
        value = b'{"id":"%b","source":"/s","type":"t%b","subject":"%b","channel":"%b","data":{"n":%d,"fill":"%b"}}' % (
            identity.encode(), b".deleted" if gone else b"", subject.encode(), channel.encode(), n, b"x" * fill,
        )  # fmt: skip
        partition = partition_of(channel.encode(), PARTITIONS)
        offset = await self.append(partition, Outgoing(channel.encode(), value))
        self.log.append(Published(identity, partition, offset, channel, subject, n, gone))

    async def append(self, partition: int, record: Outgoing) -> int:
        """Append a record to the topic; return its offset in its partition."""
        async with self.bus.appender() as appender:
            await appender.append(self.topic, [record])
        return self.ends[partition]

    async def copy(self, limit: int) -> None:
        """Copy on, so many records of each partition."""
        away, self.latest.unavailable = self.latest.unavailable, 0
        bus_away, self.bus.away = self.bus.away, 0
        view = await self.latest.begin(self.codec.epoch, await self.bus.bounds(self.topic), KEPT, shorter=False)
        batch = Batch(dict(enumerate(view.positions)))
        for partition in range(PARTITIONS):
            for record in self.records(partition, view.positions[partition], limit):
                batch.add(record, KEPT.change(record), record.timestamp)
        await self.latest.write(view, batch)
        self.latest.unavailable, self.bus.away = away, bus_away

    def connection(self, interest: Interest, replica: Replica, window: int) -> tuple[Connection, SlowTransport]:
        transport = SlowTransport(room=self.rng.choice([0, 3000, 10**9]))
        one = connection(transport, on_detach=replica.broadcast.remove, limit=OUTBOX, window=window)
        transport.connection = one
        one.subscriber = Subscriber(uuid4(), "client", interest)
        replica.hub.add(one)
        return one, transport

    @staticmethod
    def lose(connection: Connection) -> None:
        connection.ending = connection.ending or LOST
        connection.connection_lost(None)
