import asyncio
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.close_codes import REMOVED
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.hub import Hub, HubOptions
from services.experience_api.stream.broadcast import Broadcast
from services.experience_api.stream.catching_up.catch_up import CatchUp
from services.experience_api.stream.catching_up.replay_writer import ReplayWriter
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import LOG_CUT, NOT_KEPT, ControlEvents
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import LogReader, LogReaderOptions
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.deflate import CompressionOptions, Deflater
from services.experience_api.wire.records import Batch, FrameEncoder
from shared.bus.memory import MemoryBus
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.records import record

CODEC = CursorCodec("epoch", 1)


class Parts:
    """The parts between a feed and its subscribers, with an empty bus."""

    def __init__(self) -> None:
        self.history = History(CODEC, (0,), HistoryOptions())
        self.deflater = Deflater(CompressionOptions(enabled=True))
        compressing = Compressing(self.deflater)
        self.hub = Hub(HubOptions(outbox_bytes=262_144), SYSTEM_CLOCK, self.deflater)
        control_events = ControlEvents(SYSTEM_CLOCK, 25.0, 1_048_576)
        log_reader = LogReader(MemoryBus(), "missing", LogReaderOptions())
        writer = ReplayWriter(
            self.history, log_reader, control_events, compressing, drain_timeout=30.0, pause=self._pause
        )
        self.clock = StillClock()
        self.catch_up = CatchUp(
            self.history, writer, control_events, self.hub.join, round_bytes=65_536, clock=self.clock
        )
        self.broadcast = Broadcast(self.history, self.hub, self.catch_up, control_events, compressing)
        self.encoder = FrameEncoder(CODEC, (0,))

    async def _pause(self) -> None:
        await asyncio.sleep(0)

    def deliver(self, *offsets: int) -> None:
        for batch in self.batches(*offsets):
            self.broadcast.deliver(batch)

    def batches(self, *offsets: int) -> list[Batch]:
        return list(self.encoder.batches([record("a", offset) for offset in offsets]))

    def connect(self, transport: FakeTransport, cursor: str | None = None, window: int = 0) -> Connection:
        one = connection(transport, on_detach=self.broadcast.remove, limit=262_144, window=window)
        self.hub.add(one)
        self.broadcast.start(one, cursor)
        return one


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    parts = Parts()
    async with parts.catch_up:
        yield parts


def texts(transport: FakeTransport) -> list[str]:
    """Return what the peer received: ids of events, types of control events, reasons of gaps."""
    return [
        found["data"]["reason"] if found.get("type") == "trelay.gap" else str(found.get("type", found["id"]))
        for found in events(transport.sent)
    ]


def cursor(*vector: int) -> str:
    return CODEC.encode(vector).decode()


async def test_a_connection_without_a_cursor_begins_now(parts: Parts) -> None:
    parts.deliver(0)
    transport = FakeTransport()
    parts.connect(transport)
    parts.deliver(1, 2)
    assert texts(transport) == ["trelay.connected", "0/1", "0/2"]


async def test_large_events_are_compressed_before_they_are_delivered(parts: Parts) -> None:
    compressed, plain = FakeTransport(), FakeTransport()
    parts.connect(compressed, window=15)
    parts.connect(plain)
    value = b'{"id":"0/0","fill":"%b"}' % (b"x" * 100_000)
    [batch] = parts.encoder.batches([record("a", 0, value=value)])
    await parts.broadcast.prepare(batch)
    parts.broadcast.deliver(batch)
    assert events(compressed.sent)[1] == events(plain.sent)[1]
    assert len(compressed.sent) < len(plain.sent) / 50
    assert parts.deflater.counts.frames == 1


async def test_a_connection_with_a_cursor_in_memory_is_live_at_once(parts: Parts) -> None:
    parts.deliver(0, 1, 2)
    transport = FakeTransport()
    one = parts.connect(transport, cursor(1))
    assert texts(transport) == ["trelay.connected", "0/1", "0/2"]
    assert parts.hub.live() == [one]
    assert parts.catch_up.active == 0


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("nonsense", "cursor-malformed"),
        ("", "cursor-malformed"),
        (CursorCodec("another epoch", 1).encode((0,)).decode(), "cursor-foreign"),
        (CursorCodec("epoch", 2).encode((0, 0)).decode(), "cursor-foreign"),
    ],
    ids=["none", "empty", "of another epoch", "of other partitions"],
)
async def test_a_connection_with_a_refused_cursor_gets_a_gap_and_begins_now(
    parts: Parts, cursor: str, reason: str
) -> None:
    parts.deliver(0)
    transport = FakeTransport()
    parts.connect(transport, cursor)
    parts.deliver(1)
    assert texts(transport) == ["trelay.connected", reason, "0/1"]


async def test_a_lagging_connection_catches_up_from_where_it_was(parts: Parts) -> None:
    transport = FakeTransport()
    one = parts.connect(transport)
    parts.deliver(0)
    transport.room = 0
    one.pause_writing()
    while one in parts.hub.live():
        parts.deliver(*range(parts.history.head[0], parts.history.head[0] + 500))
    assert parts.catch_up.active == 1
    last = parts.history.head[0]
    transport.peer_reads(10**9)
    one.resume_writing()
    async with asyncio.timeout(60):
        while parts.catch_up.active:
            await asyncio.sleep(0)
    assert texts(transport) == ["trelay.connected", *(f"0/{offset}" for offset in range(last))]
    assert parts.hub.live() == [one]


async def test_an_ended_connection_receives_nothing_more(parts: Parts) -> None:
    live, catching_up = FakeTransport(), FakeTransport()
    parts.deliver(0)
    first = parts.connect(live)
    second = connection(catching_up, on_detach=parts.broadcast.remove)
    second.pause_writing()
    parts.hub.add(second)
    parts.broadcast.start(second, cursor(0))
    assert parts.catch_up.active == 1
    first.end(REMOVED)
    second.end(REMOVED)
    assert parts.catch_up.active == 0
    await asyncio.sleep(0)
    parts.deliver(1)
    assert texts(live) == texts(catching_up) == ["trelay.connected"]


class TestGaps:
    async def test_every_live_connection_gets_the_gap(self, parts: Parts) -> None:
        first, second = FakeTransport(), FakeTransport()
        parts.connect(first)
        parts.connect(second)
        parts.history.restart(CODEC, (5,))
        parts.broadcast.on_gap(NOT_KEPT, "offsets 0 to 4")
        parts.deliver(5)
        for transport in (first, second):
            assert texts(transport) == ["trelay.connected", NOT_KEPT, "0/5"]

    @pytest.mark.parametrize(("reason", "sent"), [(NOT_KEPT, False), (LOG_CUT, True)])
    async def test_a_connection_that_catches_up_gets_a_gap_that_it_would_not_find_itself(
        self, parts: Parts, reason: str, sent: bool
    ) -> None:
        transport = FakeTransport()
        parts.deliver(0, 1)
        one = connection(transport, on_detach=parts.broadcast.remove)
        one.pause_writing()
        parts.hub.add(one)
        parts.broadcast.start(one, cursor(0))
        parts.history.restart(CODEC, (5,))
        parts.broadcast.on_gap(reason, "why")
        assert (one in parts.hub.live()) is sent
        assert (parts.catch_up.active == 0) is sent
        parts.deliver(5)
        assert texts(transport) == ["trelay.connected", *([reason, "0/5"] if sent else [])]
