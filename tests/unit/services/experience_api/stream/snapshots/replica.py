"""A replica that sends snapshots, on a bus and a table in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

from services.experience_api.hub.audience import Subscriber, interest_in
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.hub import Hub, HubOptions
from services.experience_api.latest.opening import Latest
from services.experience_api.latest.options import LatestOptions
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.stream.broadcast import Broadcast
from services.experience_api.stream.catching_up.catch_up import CatchUp
from services.experience_api.stream.catching_up.replay_writer import ReplayWriter
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import LogReader, LogReaderOptions
from services.experience_api.stream.snapshots.opening import SnapshotParts
from services.experience_api.stream.snapshots.sending import Snapshots
from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.deflate import CompressionOptions, Deflater
from services.experience_api.wire.records import FrameEncoder
from shared.bus.memory import MemoryBus
from shared.bus.memory.log import MemoryRecord
from shared.bus.protocol import Outgoing, TopicOptions
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.events import Event, events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.latest.memory import MemoryLatest

TOPIC = "trelay.publish"
KEPT = Kept(["a"], ["*.deleted"])


class Replica:
    """One partition, one channel `a`."""

    def __init__(self, bus: MemoryBus, codec: CursorCodec) -> None:
        self.bus, self.codec = bus, codec
        self.clock, self.latest = StillClock(), MemoryLatest(rows_of_a_page=2)
        self.history = History(codec, (0,), HistoryOptions())
        self.log_reader = LogReader(bus, TOPIC, LogReaderOptions())
        control_events, deflater = ControlEvents(self.clock, 25.0, 1_048_576), Deflater(CompressionOptions())
        compressing = Compressing(deflater)
        self.hub = Hub(HubOptions(outbox_bytes=262_144), self.clock, deflater)
        writer = ReplayWriter(
            self.history, self.log_reader, control_events, compressing, drain_timeout=30.0, pause=self._pause
        )
        self.catch_up = CatchUp(
            self.history, writer, control_events, self.hub.join, round_bytes=65_536, clock=self.clock
        )
        parts = SnapshotParts(self.history, self.log_reader, writer, control_events, self.clock, self._pause)
        options = LatestOptions(channels=("a",), readers=1)
        snapshots = parts.snapshots(Latest(options, self.latest, self.latest), self._proceed)
        assert snapshots is not None
        self.snapshots: Snapshots = snapshots
        self.broadcast = Broadcast(self.history, self.hub, self.catch_up, control_events, compressing, self.snapshots)
        self.encoder = FrameEncoder(codec, (0,))
        self.pauses = 0
        self._records: list[MemoryRecord] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["Replica"]:
        bus = MemoryBus()
        await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
        replica = cls(bus, CursorCodec(await bus.epoch(TOPIC), 1))
        await replica.copy()
        async with replica.catch_up, replica.snapshots:
            yield replica

    async def publish(self, *subjects: str, copied: bool = True, delivered: bool = True) -> None:
        """Publish an event of each subject, and let the table and this replica read them."""
        for subject in subjects:
            offset = len(self._records)
            value = b'{"id":"%d","source":"/s","type":"t","subject":"%b","channel":"a"}' % (offset, subject.encode())
            async with self.bus.appender() as appender:
                await appender.append(TOPIC, [Outgoing(b"a", value)])
            self._records.append(MemoryRecord(TOPIC, 0, offset, 1000, b"a", value, ()))
        if copied:
            await self.copy()
        if delivered:
            self.deliver()

    async def copy(self) -> None:
        """Let the table read what was published."""
        view = await self.latest.begin(self.codec.epoch, await self.bus.bounds(TOPIC), KEPT, shorter=False)
        batch = Batch(dict(enumerate(view.positions)))
        for record in self._records[view.positions[0] :]:
            batch.add(record, KEPT.change(record), record.timestamp)
        await self.latest.write(view, batch)

    def deliver(self) -> None:
        """Let this replica read what was published."""
        for batch in self.encoder.batches(self._records[self.history.head[0] :]):
            self.broadcast.deliver(batch)

    def connect(
        self, cursor: str, transport: FakeTransport, filters: Mapping[str, str] | None = None, **subscriber: float
    ) -> Connection:
        one = connection(transport, on_detach=self.broadcast.remove, limit=262_144)
        interest = interest_in(["a"], filters or {}, conflate=subscriber.get("conflate", 0.0))
        one.subscriber = Subscriber(uuid4(), "client", interest)
        self.hub.add(one)
        self.broadcast.start(one, cursor)
        return one

    async def begin(self, *channels: str) -> str:
        return await self.snapshots.beginnings.cursor(interest_in(channels or ["a"]))

    async def until_done(self) -> None:
        async with asyncio.timeout(60):
            while self.snapshots.active or self.catch_up.active:
                await asyncio.sleep(0)

    def _proceed(self, connection: Connection, vector: Vector, tells: bool) -> None:
        self.broadcast.proceed(connection, vector, tells=tells)

    async def _pause(self) -> None:
        self.pauses += 1
        self.clock.pass_time(1.1)
        await asyncio.sleep(0)


def texts(transport: FakeTransport) -> list[str]:
    """Return what the peer received: ids of events, and what control events say."""
    return [_text(found) for found in events(transport.sent)]


def cursors(transport: FakeTransport) -> list[str]:
    return [found["cursor"] for found in events(transport.sent)]


def _text(found: Event) -> str:
    match found.get("type"):
        case "trelay.snapshot":
            data = found["data"]
            return f"{data['phase']} {data.get('count', data.get('restarted', ''))}".strip()
        case "trelay.gap":
            return f"gap {found['data']['reason']}"
        case "t":
            return str(found["id"])
        case kind:
            return str(kind)


def narrowed(connection: Connection, *channels: str) -> Subscriber:
    return replace(connection.subscriber, interest=interest_in(channels))
