"""Connections: one to each broker, opened once however many callers wait for it, and failed together."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.standalone.embedded.process import free_port
from shared.bus.kafka.client.connections import Broker, BrokerConnections
from shared.bus.kafka.client.errors import LOST_CONNECTION
from shared.bus.kafka.wire.metadata import metadata

ARGUMENTS = {"client_id": "test", "request_timeout_ms": 300, "security_protocol": "PLAINTEXT"}


class SilentServer:
    """Accepts connections and never answers."""

    def __init__(self) -> None:
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        await reader.read()
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[tuple[Broker, SilentServer]]:
    silent = SilentServer()
    server = await asyncio.start_server(silent.accept, "127.0.0.1", 0)
    async with server:
        yield Broker(*server.sockets[0].getsockname()[:2]), silent


async def test_callers_that_wait_for_a_broker_that_hangs_all_fail_after_one_timeout(
    silent: tuple[Broker, SilentServer],
) -> None:
    broker, server = silent
    connections = BrokerConnections(lambda: ARGUMENTS)
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(
            *(connections.send(broker, metadata([])) for _ in range(20)), return_exceptions=True
        )
    assert all(isinstance(outcome, LOST_CONNECTION) for outcome in outcomes)
    assert server.connections == 1
    with pytest.raises(LOST_CONNECTION):
        await connections.send(broker, metadata([]))
    assert server.connections == 2
    await connections.close()


async def test_a_broker_that_does_not_listen() -> None:
    connections = BrokerConnections(lambda: ARGUMENTS)
    with pytest.raises(LOST_CONNECTION):
        await connections.send(Broker("127.0.0.1", free_port()), metadata([]))
    connections.drop(Broker("127.0.0.1", 1))
    await connections.close()


async def test_a_connection_that_is_being_opened_can_be_dropped(silent: tuple[Broker, SilentServer]) -> None:
    broker, server = silent
    connections = BrokerConnections(lambda: {**ARGUMENTS, "request_timeout_ms": 60_000})
    request = asyncio.get_running_loop().create_task(connections.send(broker, metadata([])))
    async with asyncio.timeout(60):
        while not server.connections:
            await asyncio.sleep(0.001)
        connections.drop(broker)
        connections.drop(broker)
        with pytest.raises(LOST_CONNECTION):
            await request
    await connections.close()
