"""Workers: started, restarted, and ended before another member starts."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.partition_workers import GroupTopic, PartitionWorkers, Pauses
from shared.bus.protocol import Reader, TopicOptions
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks

PAUSES = Pauses(first=1.0, longest=4.0, fenced=60.0)
READS = GroupTopic("g", "t")


class VirtualClock(SystemClock):
    """Time passes only in sleeps; after a few of them it stops."""

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


class Readers:
    """Opens readers of a topic in memory, and counts those that are open."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.open = 0
        self._changed = asyncio.Condition()

    async def until_open(self, count: int) -> None:
        async with asyncio.timeout(60), self._changed:
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


async def run_without_end(reader: Reader) -> None:
    await asyncio.Event().wait()


async def test_a_partition_has_one_worker_however_often_it_is_assigned() -> None:
    readers = Readers()
    async with Tasks() as tasks:
        workers = PartitionWorkers(READS, run_without_end, readers, tasks)
        for partition in (0, 1, 1, 0):
            workers.start(partition)
        assert workers.partitions == {0, 1}
        await readers.until_open(2)
        await asyncio.sleep(0.01)  # a third would be open by now: that it is not has no event to wait for
        assert readers.open == 2


async def test_stopping_returns_when_all_workers_have_ended() -> None:
    readers = Readers()
    ended: list[str] = []

    async def worker(reader: Reader) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # an end that takes a turn of the loop
            ended.append("ended")

    async with Tasks() as tasks:
        workers = PartitionWorkers(READS, worker, readers, tasks)
        for partition in range(4):
            workers.start(partition)
        await readers.until_open(4)
        await workers.stop({1, 2, 7})
        assert workers.partitions == {0, 3}
        assert (len(ended), readers.open) == (2, 2)


@pytest.mark.parametrize(
    ("error", "message", "found"),
    [
        (RuntimeError("a bug"), "worker failed; restarting", "RuntimeError: a bug"),
        (Unavailable("the bus is gone"), "worker failed; restarting", "the bus is gone"),
        (None, "worker returned; restarting", ""),
    ],
)
async def test_a_worker_that_ends_is_restarted_after_growing_pauses(
    error: Exception | None, message: str, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def worker(reader: Reader) -> None:
        if error is not None:
            raise error

    clock = VirtualClock(5)
    with caplog.at_level(logging.INFO):
        async with Tasks() as tasks:
            PartitionWorkers(READS, worker, Readers(), tasks, pauses=PAUSES, clock=clock).start(3)
            await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 4.0, 4.0, 4.0]
    ends = [line for line in caplog.records if line.getMessage() == message]
    assert len(ends) == 5
    for line, pause in zip(ends, clock.pauses, strict=True):
        fields = {"component": "bus", "group": "g", "topic": "t", "partition": 3, "retry_in_s": pause}
        assert line.__dict__.items() >= fields.items()
        assert found in f"{line.__dict__['error']} {line.exc_text}"
    restarts = [line.__dict__ for line in caplog.records if line.getMessage() == "worker restarted"]
    assert [(line["after_s"], line["count"]) for line in restarts] == [(pause, 1) for pause in clock.pauses[:4]]


async def test_an_outage_is_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def worker(reader: Reader) -> None:
        raise Unavailable("the bus is gone")

    clock = VirtualClock(1)
    async with Tasks() as tasks:
        PartitionWorkers(READS, worker, Readers(), tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    [line] = caplog.records
    assert (line.levelno, line.exc_info) == (logging.WARNING, None)


async def test_the_pause_after_a_newer_owner_is_long() -> None:
    async def worker(reader: Reader) -> None:
        raise Fenced("a newer writer has this name")

    clock = VirtualClock(2)
    async with Tasks() as tasks:
        PartitionWorkers(READS, worker, Readers(), tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [60.0, 60.0]


async def test_the_pause_after_a_long_run_is_the_first_one_again() -> None:
    clock = VirtualClock(4)

    async def worker(reader: Reader) -> None:
        if len(clock.pauses) == 2:
            clock.at += 100
        raise Unavailable("now and then")

    async with Tasks() as tasks:
        PartitionWorkers(READS, worker, Readers(), tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 1.0, 2.0]


async def test_a_reader_that_cannot_be_opened_is_a_failure_like_any_other() -> None:
    @asynccontextmanager
    async def open_reader(partition: int) -> AsyncIterator[Reader]:
        raise Unavailable("no leader")
        yield

    clock = VirtualClock(3)
    async with Tasks() as tasks:
        PartitionWorkers(READS, run_without_end, open_reader, tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 4.0]


async def test_one_outage_has_one_message_when_it_begins_and_one_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    readers, attempts = Readers(), 0

    @asynccontextmanager
    async def open_reader(partition: int) -> AsyncIterator[Reader]:
        nonlocal attempts
        attempts += 1
        if attempts <= 3:
            raise Unavailable("no leader")
        async with readers(partition) as reader:
            yield reader

    with caplog.at_level(logging.INFO):
        async with Tasks() as tasks:
            clock = VirtualClock(10)
            PartitionWorkers(READS, run_without_end, open_reader, tasks, pauses=PAUSES, clock=clock).start(0)
            await readers.until_open(1)
    begin, end = caplog.records
    assert (begin.getMessage(), begin.__dict__["error"]) == ("worker failed; restarting", "no leader")
    assert (end.getMessage(), end.__dict__["after_s"], end.__dict__["count"]) == ("worker restarted", 7.0, 3)


async def test_a_worker_whose_awaited_future_is_cancelled_is_restarted(caplog: pytest.LogCaptureFixture) -> None:
    clock, readers = VirtualClock(3), Readers()

    async def worker(reader: Reader) -> None:
        answer = asyncio.get_running_loop().create_future()
        answer.cancel()
        await answer

    async with Tasks() as tasks, asyncio.timeout(60):
        PartitionWorkers(READS, worker, readers, tasks, pauses=PAUSES, clock=clock).start(0)
        await clock.over.wait()
    assert clock.pauses == [1.0, 2.0, 4.0]
    assert "worker cancelled by what it awaited; restarting" in caplog.text
    assert readers.open == 0
