"""The keys in memory pass the suite of every store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.producers.once.store import KeyStore
from services.experience_api.registry.protocol import Node
from shared.runtime.clock import SystemClock
from tests.contracts.once.suite import Deployment, KeyStoreSuite


class _Calendar(SystemClock):
    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class MemoryDeployment:
    """One store; every connection returns it."""

    def __init__(self) -> None:
        self._clock = _Calendar()
        self._alive: set[Node] = set()
        self._store = MemoryKeyStore(lambda node: node in self._alive, self._clock)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[KeyStore]:
        yield self._store

    async def alive(self, name: str) -> Node:
        self._alive.add(Node(name, 1))
        return Node(name, 1)

    async def dies(self, node: Node) -> None:
        self._alive.remove(node)

    async def pass_hours(self, hours: float) -> None:
        self._clock.ahead += hours * 3600


class TestMemoryKeyStore(KeyStoreSuite):
    @pytest.fixture
    async def deployment(self) -> Deployment:
        return MemoryDeployment()
