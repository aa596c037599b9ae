import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.experience_api.stream.feed import DOUBTS, Feed, FeedOptions
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.records import Batch
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Headers, Outgoing, TopicOptions, Transaction
from shared.events.headers import PROVENANCE
from shared.runtime.tasks import cancelled
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.events import event

TOPIC = "trelay.publish"


class Readers:
    """Remembers what it was given, and when the stream broke."""

    def __init__(self, history: History) -> None:
        self.ids: list[str] = []
        self.broken_for: list[str] = []
        self._history = history

    def deliver(self, batch: Batch) -> None:
        self._history.extend(batch)
        self.ids += [event(frame)["id"] for frame in batch.frames]

    def broken(self, reason: str, detail: str) -> None:
        assert detail
        self.broken_for.append(reason)


class Running:
    """A feed that follows."""

    def __init__(self, bus: MemoryBus, preload: int) -> None:
        self.bus = bus
        self.clock = StillClock()
        self.history = History(CursorCodec("", 0), (), HistoryOptions())
        self.readers = Readers(self.history)
        self.delays: list[tuple[str, float]] = []
        self.feed = Feed(
            bus,
            TOPIC,
            self.history,
            readers=self.readers,
            options=FeedOptions(preload=preload),
            clock=self.clock,
            on_delay=lambda source, seconds: self.delays.append((source, seconds)),
        )

    async def until_ready(self) -> None:
        async with asyncio.timeout(10):
            while self.feed.problem is not None:
                await asyncio.sleep(0)

    async def has(self, *ids: str) -> None:
        """Wait until all of this has been delivered, and see that nothing else was."""
        async with asyncio.timeout(10):
            while len(self.readers.ids) < len(ids):
                await asyncio.sleep(0)
        assert tuple(self.readers.ids) == ids

    async def settle(self) -> None:
        """Let everything happen that can without time passing."""
        for _ in range(50):
            await asyncio.sleep(0)


@asynccontextmanager
async def following(bus: MemoryBus, preload: int = 0, *, ready: bool = True) -> AsyncIterator[Running]:
    running = Running(bus, preload)
    task = asyncio.create_task(running.feed.follow())
    if ready:
        await running.until_ready()
    yield running
    assert not task.done()
    await cancelled(task)


@pytest.fixture
async def bus() -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    return bus


async def write(bus: MemoryBus, *ids: str, headers: Headers = ()) -> None:
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", json.dumps({"id": name}).encode(), headers) for name in ids])


async def test_begins_at_the_end(bus: MemoryBus) -> None:
    await write(bus, "old")
    async with following(bus) as running:
        assert running.feed.open
        assert running.history.head == running.history.tail == (1,)
        await write(bus, "new", "newer")
        await running.has("new", "newer")
        assert running.history.head == (3,)


async def test_reads_some_back_before_anybody_is_let_in(bus: MemoryBus) -> None:
    await write(bus, *(str(number) for number in range(10)))
    async with following(bus, preload=3) as running:
        await running.has("7", "8", "9")
        assert running.history.tail == (7,)
        assert running.delays == []
        await write(bus, "10")
        await running.has("7", "8", "9", "10")


async def test_waits_for_a_topic_that_is_not_there_yet() -> None:
    bus = MemoryBus()
    async with following(bus, ready=False) as running:
        await running.settle()
        assert not running.feed.open
        assert running.feed.problem == f"topic {TOPIC} does not exist"
        await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=2)])
        running.clock.pass_time(1.0)
        await running.until_ready()
        assert running.history.head == (0, 0)
        assert running.readers.broken_for == []


@pytest.mark.parametrize("name", [PROVENANCE, "trail"], ids=["today", "former name"])
async def test_tells_the_age_of_the_first_event_of_what_it_read(bus: MemoryBus, name: str) -> None:
    async with following(bus) as running:
        await write(bus, "a", "b", headers=((name, b"orders 990000 x"),))
        await running.has("a", "b")
        await running.settle()
        assert running.delays == [("orders", 10.0)]


@pytest.mark.parametrize("headers", [(), ((PROVENANCE, b"nonsense"),)])
async def test_needs_no_provenance(bus: MemoryBus, headers: tuple[tuple[str, bytes], ...]) -> None:
    async with following(bus) as running, bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"a"}', headers)])
        await running.has("a")
        await running.settle()
        assert running.delays == []


async def test_malformed_records_are_counted_and_passed(bus: MemoryBus) -> None:
    async with following(bus) as running:
        async with bus.appender() as appender:
            await appender.append(TOPIC, [Outgoing(b"a", b"\xff"), Outgoing(b"a", b'{"id":"a"}'), Outgoing(b"a", None)])
        await running.has("a")
        await running.settle()
        assert running.feed.malformed == 2
        assert running.history.head == (3,)


async def test_what_retention_took_first_is_a_gap(bus: MemoryBus) -> None:
    async with following(bus) as running:
        # All in one step of the loop: the feed reads only after it.
        transaction = Transaction()
        for number in range(10):
            transaction.append(TOPIC, b"a", b'{"id":"%d"}' % number)
        bus._write(transaction)
        bus.delete_records(TOPIC, 0, 8)
        await running.has("8", "9")
        assert running.readers.broken_for == ["not-kept"]
        assert running.history.tail == (8,)


async def test_a_topic_made_anew_is_noticed_and_said(bus: MemoryBus) -> None:
    await write(bus, "before")
    async with following(bus) as running:
        epoch = running.history.codec.epoch
        bus.delete_topic(TOPIC)
        await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=3)])
        running.clock.pass_time(11.0)
        async with asyncio.timeout(10):
            while not running.readers.broken_for:
                await asyncio.sleep(0.01)
        assert running.readers.broken_for == ["topic-replaced"]
        assert running.history.codec.epoch != epoch
        assert running.history.head == (0, 0, 0)
        await write(bus, "after")
        await running.has("after")


async def test_a_log_that_stays_shorter_is_said(bus: MemoryBus) -> None:
    running = Running(bus, 0)
    await write(bus, "kept")
    running.history.restart(CursorCodec(await bus.epoch(TOPIC), 1), (5,))
    running.feed.open = True
    task = asyncio.create_task(running.feed.follow())
    for _ in range(DOUBTS):
        await running.settle()
        assert running.readers.broken_for == []
        running.clock.pass_time(1.0)
    await running.until_ready()
    assert running.readers.broken_for == ["log-cut"]
    await write(bus, "next")
    await running.has("next")
    await cancelled(task)


async def test_a_log_that_only_seems_shorter_is_waited_for(bus: MemoryBus) -> None:
    running = Running(bus, 0)
    await write(bus, "read by somebody")
    running.history.restart(CursorCodec(await bus.epoch(TOPIC), 1), (2,))
    task = asyncio.create_task(running.feed.follow())
    await running.settle()
    await write(bus, "read by us")
    running.clock.pass_time(1.0)
    await running.until_ready()
    assert running.readers.broken_for == []
    await write(bus, "next")
    await running.has("next")
    await cancelled(task)
