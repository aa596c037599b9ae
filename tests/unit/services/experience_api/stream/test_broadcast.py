import asyncio
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.close_codes import REMOVED
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.hub import Hub, HubOptions
from services.experience_api.stream.broadcast import Broadcast
from services.experience_api.stream.catch_up import Resume, ResumeOptions
from services.experience_api.stream.control_events import LOG_CUT, NOT_KEPT, OwnEvents
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import Past, PastOptions
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.records import Batch, FrameEncoder
from shared.bus.memory import MemoryBus
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.records import record

CODEC = CursorCodec("epoch", 1)


class Parts:
    """Everything between a feed and its subscribers, with nothing on the bus."""

    def __init__(self) -> None:
        self.history = History(CODEC, (0,), HistoryOptions())
        self.hub = Hub(HubOptions(outbox_bytes=262_144), SYSTEM_CLOCK)
        own_events = OwnEvents(SYSTEM_CLOCK, 25.0)
        past = Past(MemoryBus(), "missing", PastOptions())
        self.resume = Resume(self.history, past, own_events, self.hub.join, options=ResumeOptions(), pause=self._pause)
        self.broadcast = Broadcast(self.history, self.hub, self.resume, own_events)
        self._encoder = FrameEncoder(CODEC, (0,))

    async def _pause(self) -> None:
        await asyncio.sleep(0)

    def deliver(self, *offsets: int) -> None:
        for batch in self.batches(*offsets):
            self.broadcast.deliver(batch)

    def batches(self, *offsets: int) -> list[Batch]:
        return list(self._encoder.batches([record("a", offset) for offset in offsets]))

    def arrive(self, transport: FakeTransport, cursor: str | None = None) -> Connection:
        one = connection(transport, gone=self.broadcast.leave, limit=262_144)
        self.hub.arrive(one)
        self.broadcast.begin(one, cursor)
        return one


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    parts = Parts()
    async with parts.resume:
        yield parts


def texts(transport: FakeTransport) -> list[str]:
    """What the peer got: ids, or what else it was."""
    return [
        found["data"]["reason"] if found.get("type") == "trelay.gap" else str(found.get("type", found["id"]))
        for found in events(transport.sent)
    ]


def cursor(*vector: int) -> str:
    return CODEC.encode(vector).decode()


async def test_one_without_a_cursor_begins_now(parts: Parts) -> None:
    parts.deliver(0)
    transport = FakeTransport()
    parts.arrive(transport)
    parts.deliver(1, 2)
    assert texts(transport) == ["trelay.connected", "0/1", "0/2"]


async def test_one_with_a_cursor_in_memory_is_live_at_once(parts: Parts) -> None:
    parts.deliver(0, 1, 2)
    transport = FakeTransport()
    one = parts.arrive(transport, cursor(1))
    assert texts(transport) == ["trelay.connected", "0/1", "0/2"]
    assert parts.hub.live() == [one]
    assert parts.resume.under_way == 0


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
async def test_one_with_a_cursor_that_is_not_ours_is_told_and_begins_now(
    parts: Parts, cursor: str, reason: str
) -> None:
    parts.deliver(0)
    transport = FakeTransport()
    parts.arrive(transport, cursor)
    parts.deliver(1)
    assert texts(transport) == ["trelay.connected", reason, "0/1"]


async def test_one_that_falls_behind_is_fed_again_from_where_it_was(parts: Parts) -> None:
    transport = FakeTransport()
    one = parts.arrive(transport)
    parts.deliver(0)
    transport.room = 0
    one.pause_writing()
    while one in parts.hub.live():
        parts.deliver(*range(parts.history.head[0], parts.history.head[0] + 500))
    assert parts.resume.under_way == 1
    last = parts.history.head[0]
    transport.peer_reads(10**9)
    one.resume_writing()
    async with asyncio.timeout(10):
        while parts.resume.under_way:
            await asyncio.sleep(0)
    assert texts(transport) == ["trelay.connected", *(f"0/{offset}" for offset in range(last))]
    assert parts.hub.live() == [one]


async def test_one_that_has_left_is_fed_by_nobody(parts: Parts) -> None:
    live, catching_up = FakeTransport(), FakeTransport()
    parts.deliver(0)
    first = parts.arrive(live)
    second = connection(catching_up, gone=parts.broadcast.leave)
    second.pause_writing()
    parts.hub.arrive(second)
    parts.broadcast.begin(second, cursor(0))
    assert parts.resume.under_way == 1
    first.end(REMOVED)
    second.end(REMOVED)
    assert parts.resume.under_way == 0
    await asyncio.sleep(0)
    parts.deliver(1)
    assert texts(live) == texts(catching_up) == ["trelay.connected"]


class TestBroken:
    async def test_everybody_who_is_live_is_told(self, parts: Parts) -> None:
        first, second = FakeTransport(), FakeTransport()
        parts.arrive(first)
        parts.arrive(second)
        parts.history.restart(CODEC, (5,))
        parts.broadcast.broken(NOT_KEPT, "5 of them")
        parts.deliver(5)
        for transport in (first, second):
            assert texts(transport) == ["trelay.connected", NOT_KEPT, "0/5"]

    @pytest.mark.parametrize(("reason", "told"), [(NOT_KEPT, False), (LOG_CUT, True)])
    async def test_who_catches_up_is_told_where_it_would_not_find_out(
        self, parts: Parts, reason: str, told: bool
    ) -> None:
        transport = FakeTransport()
        parts.deliver(0, 1)
        one = connection(transport, gone=parts.broadcast.leave)
        one.pause_writing()
        parts.hub.arrive(one)
        parts.broadcast.begin(one, cursor(0))
        parts.history.restart(CODEC, (5,))
        parts.broadcast.broken(reason, "why")
        assert (one in parts.hub.live()) is told
        assert (parts.resume.under_way == 0) is told
        parts.deliver(5)
        assert texts(transport) == ["trelay.connected", *([reason, "0/5"] if told else [])]
