import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

import pytest

from services.experience_api.batch import FrameEncoder
from services.experience_api.cursor import CursorCodec
from services.experience_api.feed import DOUBTS
from services.experience_api.history import History, HistoryOptions
from services.experience_api.hub.close_codes import INTERNAL, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.own_events import OwnEvents
from services.experience_api.past import Past, PastOptions
from services.experience_api.resume import Resume, ResumeOptions
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TopicOptions
from shared.clock import SYSTEM_CLOCK
from shared.errors import Unavailable
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.records import record

TOPIC = "trelay.publish"
ON_THE_BUS = 20


class MoodyBus(MemoryBus):
    """Answers only when the test lets it, and can be broken."""

    def __init__(self) -> None:
        super().__init__()
        self.away = 0
        """How many more calls fail."""
        self.broken = False

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        if self.broken:
            raise ZeroDivisionError
        return await super().bounds(topic)


class Parts:
    """A resume whose replica has read 30 events, of which memory has the last ten and the bus the first twenty."""

    def __init__(self, bus: MoodyBus, codec: CursorCodec, drain_seconds: float = 10.0) -> None:
        self.bus = bus
        self.codec = codec
        self.history = History(codec, (ON_THE_BUS,), HistoryOptions())
        self.joined: list[Connection] = []
        self.pauses = 0
        self.resume = Resume(
            self.history,
            Past(bus, TOPIC, PastOptions()),
            OwnEvents(SYSTEM_CLOCK, 25.0),
            self.joined.append,
            options=ResumeOptions(drain_seconds=drain_seconds),
            pause=self._pause,
        )
        self._encoder = FrameEncoder(codec, (ON_THE_BUS,))
        self.read_on(30)

    def read_on(self, upto: int) -> None:
        """Let the replica read further."""
        for batch in self._encoder.batches([record("a", offset) for offset in range(self.history.head[0], upto)]):
            self.history.extend(batch)
            self.resume.news()

    async def until_joined(self) -> None:
        async with asyncio.timeout(10):
            while self.resume.under_way:
                await asyncio.sleep(0)

    async def _pause(self) -> None:
        self.pauses += 1
        await asyncio.sleep(0)


@pytest.fixture
async def bus() -> MoodyBus:
    bus = MoodyBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    async with bus.appender() as appender:
        values = [b'{"id":"0/%d"}' % number for number in range(ON_THE_BUS)]
        await appender.append(TOPIC, [Outgoing(b"a", value) for value in values])
    return bus


@pytest.fixture
async def parts(bus: MoodyBus) -> AsyncIterator[Parts]:
    parts = Parts(bus, CursorCodec(await bus.epoch(TOPIC), 1))
    async with parts.resume:
        yield parts


def texts(transport: FakeTransport) -> list[str]:
    """What the peer got: ids, and the reasons of gaps."""
    return [
        found["data"]["reason"] if found.get("type") == "trelay.gap" else str(found["id"])
        for found in events(transport.sent)
    ]


def ids(*numbers: int) -> list[str]:
    return [f"0/{number}" for number in range(*numbers)]


async def test_from_memory_in_one_step(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.resume.begin(one, (25,))
    assert parts.joined == [one]
    assert texts(transport) == ids(25, 30)
    assert (parts.resume.counts.begun, parts.resume.counts.from_bus) == (1, 0)


async def test_from_the_bus_then_from_memory(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.resume.begin(one, (5,))
    await parts.until_joined()
    assert parts.joined == [one]
    assert texts(transport) == ids(5, 30)
    assert parts.resume.counts.from_bus == 1


async def test_what_lies_before_is_a_gap_that_is_counted(parts: Parts, bus: MoodyBus) -> None:
    bus.forget(TOPIC, 0, 15)
    transport = FakeTransport()
    parts.resume.begin(connection(transport), (5,))
    await parts.until_joined()
    assert texts(transport) == ["not-kept", *ids(15, 30)]
    assert parts.resume.counts.gaps == 1


async def test_one_that_is_ahead_waits_for_this_replica(parts: Parts, bus: MoodyBus) -> None:
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"x"}')] * 15)  # up to 35
    bus.away = 2
    transport = FakeTransport()
    one = connection(transport)
    parts.resume.begin(one, (33,))
    for upto in range(31, 34):
        for _ in range(20):
            await asyncio.sleep(0)
        assert parts.joined == []
        parts.read_on(upto)
    await parts.until_joined()
    assert parts.joined == [one]
    assert parts.pauses == 2
    parts.read_on(35)
    assert transport.sent == b""  # a hub would write these, to all who have joined


async def test_one_that_is_ahead_of_the_log_is_told_after_some_doubt(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.resume.begin(one, (1000,))
    await parts.until_joined()
    assert texts(transport) == ["cursor-ahead"]
    assert parts.joined == [one]
    assert parts.pauses == DOUBTS


async def test_one_that_does_not_drain_is_closed(bus: MoodyBus) -> None:
    parts = Parts(bus, CursorCodec(await bus.epoch(TOPIC), 1), drain_seconds=0.01)
    async with parts.resume:
        one = connection(FakeTransport(), gone=parts.resume.drop)
        one.pause_writing()
        parts.resume.begin(one, (25,))
        await parts.until_joined()
        assert one.ending is TOO_SLOW
        assert parts.joined == []


async def test_nothing_is_buffered_for_one_that_is_clogged(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    one.pause_writing()
    parts.resume.begin(one, (5,))
    for _ in range(20):
        await asyncio.sleep(0)
    assert transport.sent == b""
    one.resume_writing()
    await parts.until_joined()
    assert texts(transport) == ids(5, 30)


async def test_a_fault_of_ours_ends_that_connection_only(
    parts: Parts, bus: MoodyBus, caplog: pytest.LogCaptureFixture
) -> None:
    bus.broken = True
    broken, other = connection(FakeTransport(), gone=parts.resume.drop), connection(FakeTransport())
    with caplog.at_level(logging.ERROR):
        parts.resume.begin(broken, (1000,))
        parts.resume.begin(other, (5,))
        await parts.until_joined()
        while not caplog.text:
            await asyncio.sleep(0)
    assert broken.ending is INTERNAL
    assert parts.joined == [other]
    assert str(broken.subscriber.connection_id) in caplog.text


async def test_abandoned_ones_are_fed_nothing_more(parts: Parts) -> None:
    transport = FakeTransport()
    one = connection(transport)
    parts.resume.begin(one, (5,))
    assert parts.resume.abandon() == [one]
    assert parts.resume.under_way == 0
    for _ in range(20):
        await asyncio.sleep(0)
    assert transport.sent == b""
    assert parts.joined == []
