"""Watermarks of a source: as of when everything has been read, and what is written about it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import pytest

from services.system_api.sources.source import Batch
from services.system_api.supervisor.publisher import BusUnavailable
from services.system_api.supervisor.watermarks import Freshness, WatermarkWriter
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.errors import Fenced, Unavailable
from shared.events.watermark import Watermark, read_watermark
from shared.runtime.clock import SystemClock

TOPICS = TopicsOptions(partitions=2)


class ManualClock(SystemClock):
    """Stands still."""

    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


def read(*batches: Batch) -> list[float | None]:
    """Return what is known after each poll; the poll n begins at n."""
    freshness, found = Freshness(), []
    for number, batch in enumerate(batches, 1):
        freshness.begin(float(number))
        found.append(freshness.end(batch))
    return found


def test_a_poll_that_saw_all_is_as_of_its_beginning() -> None:
    assert read(Batch(whole=True), Batch(whole=True)) == [1, 2]


def test_a_reading_of_several_polls_is_as_of_the_first() -> None:
    batches = [Batch(whole=True, more=True), Batch(more=True), Batch(whole=True), Batch(whole=True)]
    assert read(*batches) == [None, None, 1, 4]


def test_nothing_is_known_while_something_waits_or_is_wrong_or_was_not_looked_at() -> None:
    waiting, wrong = Batch(whole=True, waiting=("a line",)), Batch(whole=True, problems=("a file",))
    assert read(waiting, wrong, Batch(), Batch(whole=True)) == [None, None, None, 4]


def test_an_attempt_that_failed_counts_as_the_beginning() -> None:
    freshness = Freshness()
    freshness.begin(1.0)  # fails
    freshness.begin(2.0)
    assert freshness.end(Batch(whole=True)) == 1.0


@contextlib.asynccontextmanager
async def writing(bus: MemoryBus) -> AsyncIterator[Writer]:
    await bus.ensure_topics(TOPICS.all())
    async with bus.writer("system.orders") as writer:
        yield writer


def marks(bus: MemoryBus) -> list[Watermark]:
    return [read_watermark(record.value) for record in bus.records(TOPICS.watermarks, 0)]


def watermarks(bus: Bus, clock: ManualClock, channel: str | None = None) -> WatermarkWriter:
    return WatermarkWriter("orders", channel, TOPICS, bus, 10.0, clock)


async def test_it_names_the_offsets_behind_all_that_is_committed() -> None:
    bus, clock = MemoryBus(), ManualClock()
    async with writing(bus) as writer:
        transaction = Transaction()
        for number in range(7):
            transaction.append(TOPICS.ingest, b"%d" % number, b"{}")
        await writer.commit(transaction)
        await watermarks(bus, clock).write(1700000000.25, writer)
    [mark] = marks(bus)
    assert (mark.source, mark.as_of, mark.topic, mark.channels) == ("orders", 1700000000250, TOPICS.ingest, [])
    assert mark.epoch == await bus.epoch(TOPICS.ingest)
    assert mark.ends == [len(bus.records(TOPICS.ingest, number)) for number in range(2)]
    assert sum(mark.ends) == 7


async def test_that_of_a_source_with_a_channel_is_about_the_publish_topic() -> None:
    bus = MemoryBus()
    async with writing(bus) as writer:
        await watermarks(bus, ManualClock(), "orders.eu").write(1.0, writer)
    [mark] = marks(bus)
    assert (mark.topic, mark.channels) == (TOPICS.publish, ["orders.eu"])


async def test_there_is_one_an_interval() -> None:
    bus, clock = MemoryBus(), ManualClock()
    async with writing(bus) as writer:
        written = watermarks(bus, clock)
        for as_of in (1.0, 2.0):
            await written.write(as_of, writer)
        clock.seconds += 10
        await written.write(3.0, writer)
    assert [mark.as_of for mark in marks(bus)] == [1000, 3000]


class EndlessBus(MemoryBus):
    async def ends(self, topic: str) -> Mapping[int, int]:
        raise Unavailable(f"{topic}: no leader")


async def test_a_source_does_not_fail_where_the_offsets_cannot_be_found() -> None:
    bus = EndlessBus()
    async with writing(bus) as writer:
        await watermarks(bus, ManualClock()).write(1.0, writer)
    assert marks(bus) == []


async def test_an_owner_that_was_fenced_writes_none() -> None:
    bus = MemoryBus()
    async with writing(bus) as writer, bus.writer("system.orders"):
        with pytest.raises(Fenced):
            await watermarks(bus, ManualClock()).write(1.0, writer)
    assert marks(bus) == []


class LostWriter:
    """A writer whose bus is gone."""

    async def commit(self, _transaction: Transaction) -> None:
        await asyncio.sleep(0)
        raise Unavailable("the bus does not answer")


async def test_a_bus_that_is_gone_ends_the_run_as_for_events() -> None:
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    with pytest.raises(BusUnavailable):
        await watermarks(bus, ManualClock()).write(1.0, LostWriter())  # type: ignore[arg-type]
