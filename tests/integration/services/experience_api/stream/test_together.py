"""The random schedules of `stream/together`, on a real bus and with the latest events in a real PostgreSQL."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from services.experience_api.latest.postgres import PostgresLatestEvents, PostgresLatestStore
from services.experience_api.latest.ranges import ChannelRange
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.latest.view import Page, View
from services.experience_api.wire.snapshot_cursor import Place
from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Appender, Bus, Outgoing, Reader, Record
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import Unavailable
from tests.unit.services.experience_api.stream.together.model import PARTITIONS, World
from tests.unit.services.experience_api.stream.together.test_schedules import Schedule, noting

STEPS = 80
_TURN = 0.002
"""Seconds, in which a server may answer."""


@pytest.fixture(params=["postgres", "kafka"])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    topics = TopicsOptions(prefix=unique_name, partitions=PARTITIONS)
    if request.param == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(servers=request.getfixturevalue("kafka").bootstrap, topics=topics)


class RealBus:
    """Cannot be read so many times."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.away = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    @asynccontextmanager
    async def reader(self, topic: str, positions: Mapping[int, int]) -> AsyncIterator[Reader]:
        self._attempt()
        async with self._bus.reader(topic, positions) as reader:
            yield reader

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        self._attempt()
        return await self._bus.bounds(topic)

    def _attempt(self) -> None:
        if self.away:
            self.away -= 1
            raise Unavailable("away")


class RealLatest:
    """The tables in PostgreSQL, which so many calls do not reach."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._events, self._store = PostgresLatestEvents(pool), PostgresLatestStore(pool)
        self.unavailable = 0

    async def view(self) -> View | None:
        self._attempt()
        return await self._events.view()

    async def page(self, within: ChannelRange, after: Place, page_bytes: int) -> Page:
        self._attempt()
        return await self._events.page(within, after, page_bytes)

    async def begin(self, epoch: str, bounds: Mapping[int, tuple[int, int]], kept: Kept, *, shorter: bool) -> View:
        return await self._store.begin(epoch, bounds, kept, shorter=shorter)

    async def write(self, view: View, batch: Batch) -> None:
        await self._store.write(view, batch)

    def _attempt(self) -> None:
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("the database is away")


class RealWorld(World):
    """What all replicas share, on servers. The bus keeps everything."""

    appender: Appender
    reader: Reader

    def __post_init__(self) -> None:
        self._stack = AsyncExitStack()
        self._records: list[list[Record]] = [[] for _ in range(PARTITIONS)]

    async def turn(self) -> None:
        await asyncio.sleep(_TURN)

    def kept(self, partition: int) -> list[Record]:
        return self._records[partition]

    def drop(self, partition: int, count: int) -> None:
        pass

    async def append(self, partition: int, record: Outgoing) -> int:
        await self.appender.append(self.topic, [record])
        before = len(self._records[partition])
        while len(self._records[partition]) == before:
            for found in await self.reader.read(wait=10):
                self._records[found.partition].append(found)
        return self._records[partition][-1].offset


@asynccontextmanager
async def world_of(seed: int, options: BusOptions, database: DatabaseOptions) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(options, database))
        await bus.ensure_topics(options.topics.all())
        topic = options.topics.publish
        world = RealWorld(random.Random(seed), RealBus(bus), topic)
        world.latest = RealLatest(
            await stack.enter_async_context(ConnectionPool.opened(database, size=4, purpose="test"))
        )
        world.appender = await stack.enter_async_context(bus.appender())
        world.reader = await stack.enter_async_context(bus.reader(topic, dict.fromkeys(range(PARTITIONS), 0)))
        await stack.enter_async_context(world.running())
        yield world


@pytest.mark.parametrize("seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(3, 30))])
async def test_every_client_receives_what_it_asked_for(
    seed: int, bus_options: BusOptions, migrated_database: DatabaseOptions
) -> None:
    async with world_of(seed, bus_options, migrated_database) as world:
        with noting(seed):
            await Schedule(world, STEPS).run()
