"""Requests that exclude those of other replicas, on the bus in memory."""

import asyncio
import random

import pytest

from services.process_api.operations import exclusive
from services.process_api.operations.exclusive import ExclusiveRequests
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TopicOptions, Transaction, Writer
from shared.errors import Fenced
from shared.runtime.clock import SystemClock


class QuickClock(SystemClock):
    """A sleep ends at once, and counts as its seconds."""

    slept = 0.0

    def monotonic(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


def requests(clock: QuickClock | None = None) -> ExclusiveRequests:
    return ExclusiveRequests(clock or QuickClock(), random.Random(1))


async def filled() -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name="t", partitions=1)])
    return bus


async def add(bus: MemoryBus, writer: Writer) -> int:
    """Write one more than the records that are there."""
    number = len(bus.records("t", 0)) + 1
    await asyncio.sleep(0)
    transaction = Transaction()
    transaction.append("t", b"k", b"%d" % number)
    await writer.commit(transaction)
    return number


async def test_what_was_read_before_holds_when_the_request_is_written() -> None:
    bus = await filled()
    replicas = [requests() for _ in range(5)]
    asked = [each.run(bus, lambda writer: add(bus, writer)) for each in replicas for _ in range(2)]
    async with asyncio.timeout(60):
        numbers = await asyncio.gather(*asked)
    assert sorted(numbers) == list(range(1, 11))


async def test_who_is_fenced_again_and_again_gives_up() -> None:
    bus, clock, attempts = await filled(), QuickClock(), 0

    async def ask(writer: Writer) -> int:
        nonlocal attempts
        attempts += 1
        await requests().settle(bus)
        return await add(bus, writer)

    with pytest.raises(Fenced):
        await requests(clock).run(bus, ask)
    assert attempts > 10
    assert exclusive._SECONDS <= clock.slept < exclusive._SECONDS + 1
    assert bus.records("t", 0) == []


async def test_settling_ends_what_another_replica_has_in_flight_and_not_what_this_one_has() -> None:
    bus, own, attempts = await filled(), requests(), 0

    async def ask(writer: Writer) -> int:
        nonlocal attempts
        attempts += 1
        await own.settle(bus)
        if attempts == 1:
            await requests().settle(bus)
        return await add(bus, writer)

    assert await own.run(bus, ask) == 1
    assert attempts == 2
