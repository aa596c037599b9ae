import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.experience_api.stream.feed import SHORTER_CHECKS, Feed, FeedOptions
from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.records import Batch
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Headers, Outgoing, TopicOptions, Transaction
from shared.events.headers import PROVENANCE
from shared.runtime.tasks import cancelled
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.events import event
from tests.unit.services.experience_api.stream.readers import BusWithHole

TOPIC = "trelay.publish"


class Sink:
    """Records what was delivered, and the reasons of gaps."""

    def __init__(self, history: History) -> None:
        self.ids: list[str] = []
        self.gaps: list[str] = []
        self._history = history

    async def prepare(self, batch: Batch) -> None:
        """Nothing takes long."""

    def deliver(self, batch: Batch) -> None:
        self._history.extend(batch)
        self.ids += [event(frame)["id"] for frame in batch.frames]

    def on_gap(self, reason: str, detail: str) -> None:
        assert detail
        self.gaps.append(reason)


class Running:
    """A running feed."""

    def __init__(self, bus: MemoryBus, preload: int) -> None:
        self.bus = bus
        self.clock = StillClock()
        self.history = History(CursorCodec("", 0), (), HistoryOptions())
        self.sink = Sink(self.history)
        self.delays: list[tuple[str, float]] = []
        self.feed = Feed(
            bus,
            TOPIC,
            self.history,
            sink=self.sink,
            options=FeedOptions(preload=preload),
            clock=self.clock,
            on_delay=lambda source, seconds: self.delays.append((source, seconds)),
        )

    async def until_ready(self) -> None:
        async with asyncio.timeout(60):
            while self.feed.problem is not None:
                await asyncio.sleep(0)

    async def has(self, *ids: str) -> None:
        """Wait until these have been delivered, and assert that nothing else was."""
        async with asyncio.timeout(60):
            while len(self.sink.ids) < len(ids):
                await asyncio.sleep(0)
        assert tuple(self.sink.ids) == ids

    async def settle(self) -> None:
        """Run everything that can run without time passing."""
        for _ in range(50):
            await asyncio.sleep(0)


@asynccontextmanager
async def running_feed(bus: MemoryBus, preload: int = 0, *, ready: bool = True) -> AsyncIterator[Running]:
    running = Running(bus, preload)
    task = asyncio.create_task(running.feed.run())
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


async def test_starts_at_the_end_of_the_topic(bus: MemoryBus) -> None:
    await write(bus, "old")
    async with running_feed(bus) as running:
        assert running.feed.ready
        assert running.history.head == running.history.tail == (1,)
        await write(bus, "new", "newer")
        await running.has("new", "newer")
        assert running.history.head == (3,)


async def test_preloads_the_history_before_it_is_ready(bus: MemoryBus) -> None:
    await write(bus, *(str(number) for number in range(10)))
    async with running_feed(bus, preload=3) as running:
        await running.has("7", "8", "9")
        assert running.history.tail == (7,)
        assert running.delays == []
        await write(bus, "10")
        await running.has("7", "8", "9", "10")


async def test_waits_for_a_topic_that_does_not_exist_yet(caplog: pytest.LogCaptureFixture) -> None:
    bus = MemoryBus()
    async with running_feed(bus, ready=False) as running:
        await running.settle()
        assert not running.feed.ready
        assert running.feed.problem == f"topic {TOPIC} does not exist"
        await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=2)])
        with caplog.at_level(logging.INFO):
            running.clock.pass_time(1.0)
            await running.until_ready()
        assert running.history.head == (0, 0)
        assert running.sink.gaps == []
    begin, end = caplog.records
    assert (begin.getMessage(), vars(begin)["error"]) == (
        "publish topic unavailable",
        f"topic {TOPIC} does not exist",
    )
    assert (end.getMessage(), vars(end)["after_s"]) == ("publish topic up to date", 1.0)


@pytest.mark.parametrize("name", [PROVENANCE, "trail"], ids=["today", "former name"])
async def test_reports_the_delay_of_the_first_event_of_a_read(bus: MemoryBus, name: str) -> None:
    async with running_feed(bus) as running:
        await write(bus, "a", "b", headers=((name, b"orders 990000 x"),))
        await running.has("a", "b")
        await running.settle()
        assert running.delays == [("orders", 10.0)]


@pytest.mark.parametrize("headers", [(), ((PROVENANCE, b"nonsense"),)])
async def test_records_without_provenance_have_no_delay(bus: MemoryBus, headers: tuple[tuple[str, bytes], ...]) -> None:
    async with running_feed(bus) as running, bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"a"}', headers)])
        await running.has("a")
        await running.settle()
        assert running.delays == []


async def test_malformed_records_are_counted_and_skipped(bus: MemoryBus) -> None:
    async with running_feed(bus) as running:
        async with bus.appender() as appender:
            await appender.append(TOPIC, [Outgoing(b"a", b"\xff"), Outgoing(b"a", b'{"id":"a"}'), Outgoing(b"a", None)])
        await running.has("a")
        await running.settle()
        assert running.feed.malformed == 2
        assert running.history.head == (3,)


async def test_records_removed_by_retention_are_a_gap(bus: MemoryBus) -> None:
    async with running_feed(bus) as running:
        # All in one step of the event loop, so that the feed reads after it.
        transaction = Transaction()
        for number in range(10):
            transaction.append(TOPIC, b"a", b'{"id":"%d"}' % number)
        bus._write(transaction)
        bus.delete_records(TOPIC, 0, 8)
        await running.has("8", "9")
        assert running.sink.gaps == ["not-kept"]
        assert running.history.tail == (8,)


async def test_a_recreated_topic_is_a_gap(bus: MemoryBus) -> None:
    await write(bus, "before")
    async with running_feed(bus) as running:
        epoch = running.history.codec.epoch
        bus.delete_topic(TOPIC)
        await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=3)])
        running.clock.pass_time(11.0)
        async with asyncio.timeout(60):
            while not running.sink.gaps:
                await asyncio.sleep(0.01)
        assert running.sink.gaps == ["topic-replaced"]
        assert running.history.codec.epoch != epoch
        assert running.history.head == (0, 0, 0)
        await write(bus, "after")
        await running.has("after")


async def test_a_log_that_stays_shorter_is_a_gap(bus: MemoryBus) -> None:
    running = Running(bus, 0)
    await write(bus, "kept")
    running.history.restart(CursorCodec(await bus.epoch(TOPIC), 1), (5,))
    running.feed.ready = True
    task = asyncio.create_task(running.feed.run())
    for _ in range(SHORTER_CHECKS):
        await running.settle()
        assert running.sink.gaps == []
        running.clock.pass_time(1.0)
    await running.until_ready()
    assert running.sink.gaps == ["log-cut"]
    await write(bus, "next")
    await running.has("next")
    await cancelled(task)


async def test_a_log_that_is_only_shorter_for_a_moment_is_not_a_gap(bus: MemoryBus) -> None:
    running = Running(bus, 0)
    await write(bus, "first")
    running.history.restart(CursorCodec(await bus.epoch(TOPIC), 1), (2,))
    task = asyncio.create_task(running.feed.run())
    await running.settle()
    await write(bus, "second")
    running.clock.pass_time(1.0)
    await running.until_ready()
    assert running.sink.gaps == []
    await write(bus, "next")
    await running.has("next")
    await cancelled(task)


async def test_it_goes_on_behind_a_hole_that_the_bounds_do_not_show() -> None:
    bus = BusWithHole(0, range(1, 3))
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    async with bus.appender() as appender:
        await appender.append(TOPIC, [Outgoing(b"a", b'{"id":"%d"}' % number) for number in range(5)])
    running = Running(bus, preload=4)
    task = asyncio.create_task(running.feed.run())
    try:
        await running.has("3", "4")
    finally:
        await cancelled(task)
    assert running.sink.gaps == ["not-kept"]
