"""The bus in memory keeps the guarantees of every bus."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus
from tests.contracts.bus.suite import BusContract


class MemoryDeployment:
    """One bus for all connections."""

    def __init__(self) -> None:
        self._bus = MemoryBus()

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Bus]:
        yield self._bus

    async def forget(self, topic: str, partition: int, below: int) -> None:
        self._bus.delete_records(topic, partition, below)

    async def delete(self, topic: str) -> None:
        self._bus.delete_topic(topic)


class TestMemoryBus(BusContract):
    @pytest.fixture
    async def deployment(self) -> MemoryDeployment:
        return MemoryDeployment()
