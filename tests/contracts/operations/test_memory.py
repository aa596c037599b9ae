"""Operations in memory keep the guarantees of every store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.store import SourceStore
from tests.contracts.operations.suite import SourceStoreContract


class MemoryDeployment:
    """One store for all connections."""

    def __init__(self) -> None:
        self._store = MemorySourceStore()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SourceStore]:
        yield self._store


class TestMemoryOperations(SourceStoreContract):
    @pytest.fixture
    async def deployment(self) -> MemoryDeployment:
        return MemoryDeployment()
