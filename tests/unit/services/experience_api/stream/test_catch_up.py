import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from services.experience_api.hub.close_codes import INTERNAL, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.stream.catch_up import Resume, ResumeOptions
from services.experience_api.stream.control_events import OwnEvents
from services.experience_api.stream.feed import DOUBTS
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.log_reader import Past, PastOptions
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.records import FrameEncoder
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, Reader, TopicOptions
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
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
        self.unreadable = 0
        """How many more readers cannot be opened."""

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        if self.unreadable:
            self.unreadable -= 1
            raise Unavailable("away")
        async with super().reader(topic, positions) as reader:
            yield reader

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

    def restart(self, offset: int) -> None:
        """Do what a feed does that retention has overtaken."""
        self.history.restart(self.codec, (offset,))
        self._encoder = FrameEncoder(self.codec, (offset,))

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
    bus.delete_records(TOPIC, 0, 15)
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
    [failed] = [record for record in caplog.records if record.message == "task failed"]
    assert str(broken.subscriber.connection_id) in failed.task  # type: ignore[attr-defined]


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


class Clogging(FakeTransport):
    """Says that it is full as soon as something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.connection: Connection | None = None

    def write(self, data: bytes | memoryview) -> None:
        super().write(data)
        if self.connection is not None:
            self.connection.pause_writing()
            self.connection = None


async def append(bus: MoodyBus, *numbers: int) -> None:
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"0/%d"}' % number) for number in range(*numbers)])


async def test_what_the_replica_itself_has_lost_is_a_gap_for_one_that_had_all_of_its_memory(
    parts: Parts, bus: MoodyBus
) -> None:
    """Retention overtakes the feed while the last it has read is on its way to a slow subscriber."""
    transport = Clogging()
    transport.connection = one = connection(transport)
    parts.resume.begin(one, (25,))
    assert (parts.joined, texts(transport)) == ([], ids(25, 30))
    await append(bus, ON_THE_BUS, 45)
    bus.delete_records(TOPIC, 0, 40)
    parts.restart(40)
    one.resume_writing()
    await parts.until_joined()
    parts.read_on(45)
    assert texts(transport) == [*ids(25, 30), "not-kept"]
    assert parts.joined == [one]  # the hub writes the rest, to all who have joined


async def test_the_bus_is_waited_for_while_it_is_away(parts: Parts, bus: MoodyBus) -> None:
    bus.unreadable = 3
    transport = FakeTransport()
    one = connection(transport)
    parts.resume.begin(one, (5,))
    await parts.until_joined()
    assert texts(transport) == ids(5, 30)
    assert parts.joined == [one]
    assert parts.pauses == 3


async def test_what_is_read_during_the_replay_comes_once_and_in_its_place(parts: Parts, bus: MoodyBus) -> None:
    """The feed reads on at each of the replay's steps, while memory forgets what it had."""
    transport = FakeTransport()
    one = connection(transport)
    await append(bus, ON_THE_BUS, 60)
    parts.resume.begin(one, (5,))
    for upto in range(31, 61):
        parts.read_on(upto)
        await asyncio.sleep(0)
    await parts.until_joined()
    live_from = 5 + len(texts(transport))
    assert texts(transport) == ids(5, live_from)
    assert live_from >= 30
    assert parts.joined == [one]


@pytest.mark.parametrize("ahead", [31, 2**63 - 1])
async def test_a_cursor_from_the_future_is_never_met_with_silence(parts: Parts, bus: MoodyBus, ahead: int) -> None:
    """It may be made up: whoever has one cursor can write another. What comes next must come."""
    transport = FakeTransport()
    one = connection(transport)
    parts.resume.begin(one, (ahead,))
    await parts.until_joined()
    assert texts(transport) == ["cursor-ahead"]
    assert parts.joined == [one]
    assert parts.codec.decode(events(transport.sent)[0]["cursor"]) == parts.history.head


async def test_a_log_that_has_become_shorter_repeats_nothing(parts: Parts, bus: MoodyBus) -> None:
    """It ends before what the subscriber has, and before what memory holds: the feed finds out, and says so."""
    transport = FakeTransport()
    one = connection(transport)
    parts.history.restart(parts.codec, (ON_THE_BUS + 50,))
    parts.resume.begin(one, (ON_THE_BUS + 5,))
    async with asyncio.timeout(10):
        while parts.pauses < DOUBTS:
            await asyncio.sleep(0)
    assert texts(transport) == []
    assert parts.resume.abandon() == [one]
