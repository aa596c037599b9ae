"""Drives: started, started again, and ended before anybody else begins."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.partition_workers import PartitionWorkers, Pauses
from shared.bus.protocol import Reader, TopicOptions
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks

PAUSES = Pauses(first=1.0, longest=4.0, fenced=60.0)


class Hurried(SystemClock):
    """Time passes by sleeping only; after a few pauses it stands still."""

    def __init__(self, pauses: int) -> None:
        self.at = 0.0
        self.pauses: list[float] = []
        self.over = asyncio.Event()
        self._left = pauses

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at += seconds
        self._left -= 1
        if self._left == 0:
            self.over.set()
            await asyncio.Event().wait()


class Opened:
    """Opens readers of a topic in memory, and counts those that are open."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.open = 0
        self._changed = asyncio.Condition()

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.open == count)

    @asynccontextmanager
    async def __call__(self, partition: int) -> AsyncIterator[Reader]:
        await self.bus.ensure_topics([TopicOptions(name="t", partitions=4)])
        self.open += 1
        try:
            async with self.bus.reader("t", {partition: 0}) as reader:
                async with self._changed:
                    self._changed.notify_all()
                yield reader
        finally:
            self.open -= 1


async def wait_for_ever(reader: Reader) -> None:
    await asyncio.Event().wait()


async def test_a_partition_is_driven_once_however_often_it_is_given() -> None:
    opened = Opened()
    async with Tasks() as tasks:
        driving = PartitionWorkers("g t", wait_for_ever, opened, tasks)
        for partition in (0, 1, 1, 0):
            driving.start(partition)
        assert driving.partitions == {0, 1}
        await opened.until_open(2)
        await asyncio.sleep(0.01)  # a third would be open by now: that it is not has no event to wait for
        assert opened.open == 2


async def test_stopping_returns_when_all_drives_have_ended() -> None:
    opened = Opened()
    ending: list[str] = []

    async def drive(reader: Reader) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # an end that takes a turn of the loop
            ending.append("ended")

    async with Tasks() as tasks:
        driving = PartitionWorkers("g t", drive, opened, tasks)
        for partition in range(4):
            driving.start(partition)
        await opened.until_open(4)
        await driving.stop({1, 2, 7})
        assert driving.partitions == {0, 3}
        assert (len(ending), opened.open) == (2, 2)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a bug"), "RuntimeError: a bug"),
        (Unavailable("the bus is gone"), "the bus is gone"),
        (None, "ended by itself"),
    ],
)
async def test_a_drive_that_ends_is_started_again_after_growing_pauses(
    error: Exception | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def drive(reader: Reader) -> None:
        if error is not None:
            raise error

    clock = Hurried(5)
    async with Tasks() as tasks:
        PartitionWorkers("g t", drive, Opened(), tasks, pauses=PAUSES, clock=clock).start(3)
        await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert caplog.text.count(said) == 5
    assert "g t/3" in caplog.text


async def test_an_outage_is_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def drive(reader: Reader) -> None:
        raise Unavailable("the bus is gone")

    clock = Hurried(1)
    async with Tasks() as tasks:
        PartitionWorkers("g t", drive, Opened(), tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    [line] = caplog.records
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)


async def test_after_a_newer_owner_was_met_the_pause_is_long() -> None:
    async def drive(reader: Reader) -> None:
        raise Fenced("a newer writer has this name")

    clock = Hurried(2)
    async with Tasks() as tasks:
        PartitionWorkers("g t", drive, Opened(), tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [60.0, 60.0]


async def test_who_ran_long_enough_begins_with_the_first_pause_again() -> None:
    clock = Hurried(4)

    async def drive(reader: Reader) -> None:
        if len(clock.pauses) == 2:
            clock.at += 100
        raise Unavailable("now and then")

    async with Tasks() as tasks:
        PartitionWorkers("g t", drive, Opened(), tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 1.0, 2.0]


async def test_a_reader_that_cannot_be_opened_is_a_failure_like_any_other() -> None:
    @asynccontextmanager
    async def open_reader(partition: int) -> AsyncIterator[Reader]:
        raise Unavailable("no leader")
        yield

    clock = Hurried(3)
    async with Tasks() as tasks:
        PartitionWorkers("g t", wait_for_ever, open_reader, tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 4.0]


async def test_a_drive_that_takes_another_end_for_its_own_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    clock, opened = Hurried(3), Opened()

    async def drive(reader: Reader) -> None:
        answer = asyncio.get_running_loop().create_future()
        answer.cancel()
        await answer

    async with Tasks() as tasks, asyncio.timeout(10):
        PartitionWorkers("g t", drive, opened, tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 4.0]
    assert "what the drive waited for was cancelled" in caplog.text
    assert opened.open == 0
