"""Leases in memory keep the guarantees of every store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shared.lease import LeaseStore, MemoryLeaseStore
from tests.contracts.lease.suite import LeaseStoreContract


class MemoryDeployment:
    """One store for all connections."""

    def __init__(self) -> None:
        self._store = MemoryLeaseStore()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[LeaseStore]:
        yield self._store


class TestMemoryLeases(LeaseStoreContract):
    @pytest.fixture
    async def deployment(self) -> MemoryDeployment:
        return MemoryDeployment()
