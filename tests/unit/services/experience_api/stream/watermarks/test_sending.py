"""Watermarks reach the connections that asked for them, once everything below is delivered."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from services.experience_api.hub.connection import Connection
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.watermarks.sending import Watermarks
from services.experience_api.wire.cursor import CursorCodec
from shared.bus.memory import MemoryBus
from shared.bus.memory.log import MemoryRecord
from shared.bus.topics import TopicsOptions
from shared.events.watermark import Watermark
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.stream.readers import BusWithHole

TOPICS = TopicsOptions(partitions=2)
SECOND = 1000


class ManualClock(SystemClock):
    """Stands still."""

    seconds = 100.0
    wall = 1_000_000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Replica:
    """What surrounds the watermarks of a replica."""

    bus: MemoryBus = field(default_factory=MemoryBus)
    clock: ManualClock = field(default_factory=ManualClock)
    lagging: set[Connection] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.history = History(CursorCodec("e", 2), (0, 0), HistoryOptions())
        self.watermarks = Watermarks(
            self.bus,
            TOPICS.watermarks,
            TOPICS.publish,
            self.history,
            lambda each: each not in self.lagging,
            ControlEvents(self.clock, 25.0, 1_048_576),
            self.clock,
        )

    def connect(self, *channels: str, seconds: int | None = 10) -> tuple[Connection, FakeTransport]:
        transport = FakeTransport()
        one = connection(transport, *channels)
        one.subscriber = replace(one.subscriber, watermarks=seconds)
        self.watermarks.add(one)
        return one, transport

    def mark(
        self,
        as_of: int,
        *ends: int,
        source: str = "orders",
        channels: Sequence[str] = ("orders.eu", "orders.us"),
        epoch: str = "e",
        topic: str = TOPICS.publish,
        written: int = 0,
    ) -> None:
        mark = Watermark(source, as_of * SECOND, topic, epoch, list(ends), list(channels))
        record = mark.record()
        self.watermarks.take([MemoryRecord(TOPICS.watermarks, 0, 0, written * SECOND, record.key, record.value, ())])

    def sent(self, transport: FakeTransport) -> list[tuple[str, str, list[str]]]:
        """Let what is due be sent; return all that the peer was sent so far."""
        for _ in self.watermarks.send_due():
            pass
        found = [each["data"] for each in events(transport.sent) if each["type"] == "trelay.watermark"]
        return [(each["source"], each["as_of"][11:19], each["channels"]) for each in found]


def test_it_is_sent_once_all_partitions_are_read_up_to_it() -> None:
    replica = Replica()
    _, transport = replica.connect("orders.eu")
    replica.mark(7, 3, 5)
    assert replica.sent(transport) == []
    replica.history.advance({0: 3, 1: 4})
    assert replica.sent(transport) == []
    replica.history.advance({1: 5})
    assert replica.sent(transport) == [("/sources/orders", "00:00:07", ["orders.eu"])]
    assert len(replica.sent(transport)) == 1


def test_there_is_one_of_a_source_in_the_seconds_that_were_asked_for() -> None:
    replica = Replica()
    _, transport = replica.connect(seconds=10)
    _, eager = replica.connect(seconds=1)
    for number in range(5):
        replica.mark(number + 1, 0, 0)
        replica.sent(transport)
        replica.clock.seconds += 5
    assert [as_of for _, as_of, _ in replica.sent(transport)] == ["00:00:01", "00:00:03", "00:00:05"]
    assert len(replica.sent(eager)) == 5


def test_each_source_has_its_own() -> None:
    replica = Replica()
    _, transport = replica.connect("orders.*", "stock")
    replica.mark(7, 0, 0)
    replica.mark(8, 0, 0, source="stock", channels=["stock"])
    replica.mark(9, 0, 0, source="prices", channels=["prices"])
    assert replica.sent(transport) == [
        ("/sources/orders", "00:00:07", ["orders.eu", "orders.us"]),
        ("/sources/stock", "00:00:08", ["stock"]),
    ]


def test_a_connection_that_lags_gets_it_once_it_is_live() -> None:
    replica = Replica()
    one, transport = replica.connect()
    replica.lagging.add(one)
    replica.mark(7, 0, 0)
    assert replica.sent(transport) == []
    replica.lagging.clear()
    assert len(replica.sent(transport)) == 1


def test_one_that_did_not_ask_or_has_left_gets_none() -> None:
    replica = Replica()
    _, silent = replica.connect(seconds=None)
    one, left = replica.connect()
    replica.watermarks.remove(one)
    replica.mark(7, 0, 0)
    assert replica.sent(silent) == replica.sent(left) == []


def test_an_older_one_of_another_owner_is_not_sent() -> None:
    replica = Replica()
    _, transport = replica.connect(seconds=1)
    replica.mark(7, 0, 0)
    replica.sent(transport)
    replica.clock.seconds += 5
    replica.mark(6, 0, 0)
    assert len(replica.sent(transport)) == 1


def test_one_of_a_clock_that_is_ahead_does_not_hold_back_those_that_follow() -> None:
    replica = Replica()
    _, transport = replica.connect(seconds=1)
    replica.clock.wall = 7.0
    replica.mark(3600, 0, 0, written=5)
    replica.sent(transport)
    replica.clock.seconds += 5
    replica.clock.wall += 5
    replica.mark(11, 0, 0, written=11)
    assert [as_of for _, as_of, _ in replica.sent(transport)] == ["00:00:05", "00:00:11"]


def test_one_that_does_not_fit_into_the_outbox_is_sent_later() -> None:
    replica = Replica()
    _, transport = replica.connect()
    transport.buffered = bytes(100_000)
    replica.mark(7, 0, 0)
    assert replica.sent(transport) == []
    transport.buffered = b""
    assert len(replica.sent(transport)) == 1


async def test_it_follows_the_topic() -> None:
    replica = Replica()
    await replica.bus.ensure_topics(TOPICS.all())
    _, transport = replica.connect()
    async with replica.bus.appender() as appender:
        for topic in (TOPICS.ingest, TOPICS.publish):
            mark = Watermark("orders", 7 * SECOND, topic, "e", [0, 0], ["orders.eu"])
            await appender.append(TOPICS.watermarks, [mark.record()._replace(value=b"?"), mark.record()])
    async with Tasks() as tasks, asyncio.timeout(60):
        replica.watermarks.start(tasks)
        while not replica.sent(transport):
            await asyncio.sleep(0.005)
    assert len(replica.sent(transport)) == 1


async def test_it_follows_the_topic_behind_a_hole() -> None:
    replica = Replica(bus=BusWithHole(0, range(2)))
    await replica.bus.ensure_topics(TOPICS.all())
    _, transport = replica.connect()
    async with replica.bus.appender() as appender:
        mark = Watermark("orders", 7 * SECOND, TOPICS.publish, "e", [0, 0], ["orders.eu"])
        await appender.append(TOPICS.watermarks, [mark.record()] * 3)
    async with Tasks() as tasks, asyncio.timeout(60):
        replica.watermarks.start(tasks)
        while not replica.sent(transport):
            await asyncio.sleep(0.005)


def test_a_connection_gets_what_is_due_between_two_checks() -> None:
    replica = Replica()
    one, transport = replica.connect("orders.eu")
    _, other = replica.connect("orders.eu")
    replica.mark(7, 0, 0)
    replica.watermarks.send_to(one)
    assert [found["type"] for found in events(transport.sent)] == ["trelay.watermark"]
    assert other.sent == b""
    replica.watermarks.send_to(connection(FakeTransport()))  # of a subscriber that asked for none


class TickingClock(ManualClock):
    """Shows a millisecond more each time."""

    def monotonic(self) -> float:
        self.seconds += 0.001
        return self.seconds


def test_many_connections_are_sent_it_in_steps() -> None:
    replica = Replica(clock=TickingClock())
    connected = [replica.connect("orders.eu") for _ in range(100)]
    replica.mark(7, 0, 0)
    left, _ = connected[-1]
    steps = 0
    for _ in replica.watermarks.send_due():
        steps += 1
        replica.watermarks.remove(left)
        replica.lagging.add(connected[-2][0])
    assert 10 < steps < 100
    got = [bool(transport.sent) for _, transport in connected]
    assert got == [True] * 98 + [False, False]
    replica.lagging.clear()
    assert len(replica.sent(connected[-2][1])) == 1
