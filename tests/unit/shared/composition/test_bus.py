import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus, TopicOptions
from shared.bus.topics import TopicsOptions
from shared.composition.bus import BusConnection
from shared.errors import SettingsError, Unavailable
from shared.http.health import NotYet
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks

TOPICS = TopicsOptions()


class Pauses(SystemClock):
    """Returns at once from each sleep, and remembers how long it was and the problem of that moment."""

    def __init__(self) -> None:
        self.slept: list[tuple[str | None, float]] = []
        self.connection: BusConnection | None = None

    async def sleep(self, seconds: float) -> None:
        assert self.connection is not None
        self.slept.append((self.connection.problem, seconds))
        await asyncio.sleep(0)


def connecting(bus: Bus, clock: Pauses, *failures: str) -> BusConnection:
    reasons = list(failures)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Bus]:
        if reasons:
            raise Unavailable(reasons.pop(0))
        yield bus

    clock.connection = BusConnection(connect, TOPICS, clock)
    return clock.connection


async def endless(_bus: Bus) -> None:
    await asyncio.Event().wait()


async def until(connection: BusConnection, problem: str | None) -> None:
    async with asyncio.timeout(60):
        while connection.problem != problem:
            await asyncio.sleep(0)


async def test_it_connects_again_after_each_failure_and_makes_the_topics() -> None:
    bus, clock = MemoryBus(), Pauses()
    connection = connecting(bus, clock, "refused", "refused again")
    async with Tasks() as tasks:
        tasks.keep("bus", connection.keep(endless))
        await until(connection, None)
        assert clock.slept == [("refused", 1.0), ("refused again", 1.0)]
        assert set(await bus.bounds(TOPICS.publish)) == set(range(TOPICS.partitions))


async def test_a_use_that_loses_the_bus_is_begun_again() -> None:
    uses = 0

    async def lost_once(_bus: Bus) -> None:
        nonlocal uses
        uses += 1
        if uses == 1:
            raise Unavailable("connection lost")
        await asyncio.Event().wait()

    clock = Pauses()
    connection = connecting(MemoryBus(), clock)
    async with Tasks() as tasks:
        tasks.keep("bus", connection.keep(lost_once))
        async with asyncio.timeout(60):
            while uses < 2:
                await asyncio.sleep(0)
        assert connection.problem is None
    assert clock.slept == [("connection lost", 1.0)]


async def test_the_problem_of_a_connected_bus_is_its_own() -> None:
    bus = MemoryBus()
    connection = connecting(bus, Pauses())
    async with Tasks() as tasks:
        tasks.keep("bus", connection.keep(endless))
        await until(connection, None)
        bus.problem = "the broker is away"
        assert connection.problem == "the broker is away"
    assert connection.problem == "not connected yet"


def test_before_the_first_attempt_the_problem_is_no_outage_yet() -> None:
    connection = connecting(MemoryBus(), Pauses())
    assert connection.problem == "not connected yet"
    connection.wait_for("lease_store")
    assert connection.problem == "waiting for lease_store"
    assert isinstance(connection.problem, NotYet)


async def test_a_topic_that_contradicts_the_settings_is_an_error() -> None:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name=TOPICS.publish, partitions=7)])
    with pytest.raises(SettingsError, match=r"trelay\.publish"):
        await connecting(bus, Pauses()).keep(endless)
