"""Resuming over real sockets, on every bus: each event exactly once, and a gap event if any is missing."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import uvloop

from services.experience_api.wire.cursor import CursorCodec
from shared.bus.protocol import Bus
from shared.database.options import DatabaseOptions
from tests.contracts.bus.deployment import Deployment, new_topic
from tests.contracts.bus.kafka import KafkaDeployment
from tests.contracts.bus.test_memory import MemoryDeployment
from tests.contracts.bus.test_postgres import PostgresDeployment
from tests.integration.services.experience_api.streams import (
    Stream,
    eventually,
    numbered,
    publish,
    streaming,
    subscribed,
)
from tests.servers.kafka import Kafka

SHORT = {"history": {"limit_bytes": 20_000}, "feed": {"preload": 0}}
"""A history of some sixty events, empty after a restart."""


LOOPS = {"uvloop": uvloop.new_event_loop}


class CatchUpSuite:
    """The tests of every bus."""

    @pytest.fixture
    async def deployment(self) -> Deployment:
        raise NotImplementedError

    @pytest.fixture
    async def bus(self, deployment: Deployment) -> AsyncIterator[Bus]:
        async with deployment.connect() as bus:
            yield bus

    @pytest.fixture
    async def topic(self, bus: Bus) -> str:
        return await new_topic(bus, partitions=4)

    async def test_from_memory(self, bus: Bus, topic: str) -> None:
        async with streaming(bus, topic) as stream:
            async with subscribed(stream) as peer:
                await publish(bus, topic, "a", range(20))
                assert await peer.ids(10) == numbered("a", range(10))
                cursor = peer.cursor
            await publish(bus, topic, "a", range(20, 30))
            async with subscribed(stream, f"cursor={cursor}") as peer:
                assert peer.cursor == cursor
                assert await peer.ids(20) == numbered("a", range(10, 30))
                await publish(bus, topic, "a", range(30, 33))
                assert await peer.ids(3) == numbered("a", range(30, 33))
            assert stream.delivery.counts.catch_up.log_reads == 0

    async def test_from_the_bus(self, bus: Bus, topic: str) -> None:
        async with streaming(bus, topic, SHORT) as stream:
            async with subscribed(stream) as peer:
                cursor = peer.cursor
            for start in range(0, 1000, 50):
                await publish(bus, topic, "a", range(start, start + 50), size=100)
            await eventually(lambda: stream.delivery.counts.hub.events == 1000)
            async with subscribed(stream, f"cursor={cursor}") as peer:
                assert await peer.ids(500) == numbered("a", range(500))
                cursor = peer.cursor
            async with subscribed(stream, f"cursor={cursor}&channels=a") as peer:
                assert await peer.ids(500) == numbered("a", range(500, 1000))
                await publish(bus, topic, "a", range(1000, 1003))
                assert await peer.ids(3) == numbered("a", range(1000, 1003))
            assert stream.delivery.counts.catch_up.log_reads >= 2
            assert stream.delivery.counts.catch_up.gaps == 0

    async def test_at_a_replica_that_has_just_started(self, bus: Bus, topic: str) -> None:
        async with streaming(bus, topic) as stream, subscribed(stream) as peer:
            await publish(bus, topic, "a", range(20))
            assert await peer.ids(10) == numbered("a", range(10))
            cursor = peer.cursor
        for options in ({}, SHORT):
            async with streaming(bus, topic, options) as stream, subscribed(stream, f"cursor={cursor}") as peer:
                assert await peer.ids(10) == numbered("a", range(10, 20))
                await eventually(lambda: stream.delivery.counts.catching_up == 0)
            assert bool(stream.delivery.counts.catch_up.log_reads) == bool(options)

    async def test_with_nothing_left_to_read(self, bus: Bus, topic: str) -> None:
        """The last cursor lies before the marker of its transaction, after which nothing may be awaited."""
        await publish(bus, topic, "a", range(1))
        async with streaming(bus, topic) as stream, subscribed(stream) as peer:
            await publish(bus, topic, "a", range(1, 2))
            await peer.next()
            last, cursors = peer.cursor, [peer.cursor]
            async with subscribed(stream) as other:
                cursors.append(other.cursor)
        async with streaming(bus, topic, SHORT) as stream:
            for cursor in [*cursors, last]:
                async with subscribed(stream, f"cursor={cursor}"):
                    await eventually(lambda: stream.delivery.counts.catching_up == 0)

    async def test_a_gap_is_reported_once_and_the_rest_follows(
        self, deployment: Deployment, bus: Bus, topic: str
    ) -> None:
        async with streaming(bus, topic) as stream, subscribed(stream) as peer:
            cursor = peer.cursor
            await publish(bus, topic, "a", range(100))
            await peer.ids(100)
        [partition] = [number for number, (first, end) in (await bus.bounds(topic)).items() if end > first]
        await deployment.forget(topic, partition, 60)
        async with streaming(bus, topic, SHORT) as stream, subscribed(stream, f"cursor={cursor}") as peer:
            gap = await peer.next()
            assert gap["type"] == "trelay.gap"
            assert gap["data"]["reason"] == "not-kept"
            assert f"{topic}/{partition}" in gap["data"]["detail"]
            assert gap["cursor"] != cursor
            assert await peer.ids(40) == numbered("a", range(60, 100))
            assert stream.delivery.counts.catch_up.gaps == 1
        async with streaming(bus, topic, SHORT) as stream, subscribed(stream, f"cursor={gap['cursor']}") as peer:
            assert await peer.ids(40) == numbered("a", range(60, 100))

    async def test_a_cursor_of_another_topic(self, deployment: Deployment, bus: Bus, topic: str) -> None:
        async with streaming(bus, topic) as stream, subscribed(stream) as peer:
            await publish(bus, topic, "a", range(3))
            await peer.ids(3)
            cursor = peer.cursor
        codec = CursorCodec(await bus.epoch(topic), 4)
        assert codec.decode(cursor)
        another = await new_topic(bus, partitions=4)
        async with streaming(bus, another) as stream, subscribed(stream, f"cursor={cursor}") as peer:
            gap = await peer.next()
            assert gap["type"] == "trelay.gap"
            assert gap["data"]["reason"] == "cursor-foreign"
            await publish(bus, another, "a", range(3))
            assert await peer.ids(3) == numbered("a", range(3))

    async def test_a_malformed_cursor(self, bus: Bus, topic: str) -> None:
        async with streaming(bus, topic) as stream:
            for cursor in ("", "nonsense", "%00", "A" * 5000):
                async with subscribed(stream, f"cursor={cursor}") as peer:
                    gap = await peer.next()
                    assert gap["type"] == "trelay.gap"
                    assert gap["data"]["reason"] == "cursor-malformed"
                    await publish(bus, topic, "a", range(1))
                    assert await peer.ids(1) == ["a:0"]

    async def test_a_cursor_ahead_of_the_log(self, bus: Bus, topic: str) -> None:
        await publish(bus, topic, "a", range(3))
        codec = CursorCodec(await bus.epoch(topic), 4)
        ends = [end for _, (_, end) in sorted((await bus.bounds(topic)).items())]
        ahead = codec.encode([end + 1000 for end in ends]).decode()
        async with streaming(bus, topic) as stream, subscribed(stream, f"cursor={ahead}") as peer:
            for _ in ends:
                gap = await peer.next()
                assert gap["data"]["reason"] == "cursor-ahead"
            await publish(bus, topic, "a", range(3, 6))
            assert await peer.ids(3) == numbered("a", range(3, 6))

    async def test_anywhere_at_any_time(self, deployment: Deployment, bus: Bus, topic: str, seed: int) -> None:
        """Two replicas with small histories; a subscriber is disconnected at random and reconnects to either."""
        rng = random.Random(seed)
        channels = ["a", "b", "c", "d", "e"]
        total = 400
        received: list[str] = []

        async def publish_all(bus: Bus) -> None:
            written = dict.fromkeys(channels, 0)
            while any(number < total for number in written.values()):
                channel = rng.choice(channels)
                end = min(total, written[channel] + rng.randint(1, 30))
                await publish(bus, topic, channel, range(written[channel], end), size=rng.randint(0, 300))
                written[channel] = end

        async with AsyncExitStack() as stack:
            replicas: list[Stream] = []
            for _ in range(2):
                own = await stack.enter_async_context(deployment.connect())
                replicas.append(await stack.enter_async_context(streaming(own, topic, SHORT)))
            async with subscribed(replicas[0]) as peer:
                cursor = peer.cursor
            writing = asyncio.create_task(publish_all(bus))
            while len(received) < total * len(channels):
                async with subscribed(rng.choice(replicas), f"cursor={cursor}") as peer:
                    count = min(rng.randint(1, 200), total * len(channels) - len(received))
                    received += await peer.ids(count)
                    cursor = peer.cursor
            await writing
            gaps = sum(replica.delivery.counts.catch_up.gaps for replica in replicas)
        assert gaps == 0
        for channel in channels:
            assert [identity for identity in received if identity.startswith(channel)] == numbered(
                channel, range(total)
            )


class TestCatchUpOnMemory(CatchUpSuite):
    @pytest.fixture
    async def deployment(self) -> MemoryDeployment:
        return MemoryDeployment()


class TestCatchUpOnPostgres(CatchUpSuite):
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> PostgresDeployment:
        return PostgresDeployment(migrated_database)


class TestCatchUpOnKafka(CatchUpSuite):
    @pytest.fixture
    async def deployment(self, kafka: Kafka) -> KafkaDeployment:
        return KafkaDeployment(kafka)
