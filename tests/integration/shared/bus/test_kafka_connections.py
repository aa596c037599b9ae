"""Connections to brokers end with what has opened them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection, create_conn

from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.kafka.client import connections
from shared.bus.protocol import Bus, Outgoing, TopicOptions
from tests.contracts.bus.groups import Journal, JournalWorker
from tests.servers.kafka import Kafka


@asynccontextmanager
async def reading(bus: Bus, topic: str) -> AsyncIterator[None]:
    async with bus.reader(topic, {0: 0}) as reader:
        assert await reader.read(1)
        yield


@asynccontextmanager
async def appending(bus: Bus, topic: str) -> AsyncIterator[None]:
    async with bus.appender() as appender:
        await appender.append(topic, [Outgoing(b"k", b"2")])
        yield


@asynccontextmanager
async def joined(bus: Bus, topic: str) -> AsyncIterator[None]:
    journal = Journal()
    async with bus.join(topic, topic, "member", JournalWorker(journal, "member")):
        await journal.until(lambda: journal.has_read(1))
        yield


@pytest.mark.parametrize("use", [reading, appending, joined])
async def test_what_is_cancelled_again_while_it_ends_leaves_no_connection(
    kafka: Kafka,
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
    use: Callable[[Bus, str], AbstractAsyncContextManager[None]],
) -> None:
    opened: list[AIOKafkaConnection] = []

    async def noted(*address: Any, **arguments: Any) -> AIOKafkaConnection:
        opened.append(await create_conn(*address, **arguments))
        return opened[-1]

    async with connect_kafka(KafkaOptions(servers=kafka.bootstrap)) as bus:
        await bus.ensure_topics([TopicOptions(name=unique_name, partitions=1)])
        async with bus.appender() as appender:
            await appender.append(unique_name, [Outgoing(b"k", b"1")])
        used = asyncio.Event()

        async def using() -> None:
            async with use(bus, unique_name):
                used.set()
                await asyncio.Event().wait()

        monkeypatch.setattr(connections, "create_conn", noted)
        task = asyncio.create_task(using())
        await used.wait()
        assert any(connection.connected() for connection in opened)
        task.cancel()
        await asyncio.sleep(0)  # it begins to end
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [connection for connection in opened if connection.connected()] == []
