"""The registry in memory passes the suite of every registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Registry
from shared.lease import LeaseStore, MemoryLeaseStore
from shared.runtime.clock import SystemClock
from tests.contracts.registry.deployment import Deployment
from tests.contracts.registry.suite import ClaimsSuite

_DAY = 86_400


class Calendar(SystemClock):
    """A clock that can be moved forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class MemoryDeployment:
    """One registry; every connection returns it."""

    def __init__(self) -> None:
        self._clock = Calendar()
        self._leases = MemoryLeaseStore(self._clock)
        self.leases: LeaseStore = self._leases
        self._registry = MemoryRegistry(self._leases, self._clock)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Registry]:
        yield self._registry

    async def pass_days(self, days: float) -> None:
        now = self._clock.monotonic()
        for row in self._leases._rows.values():
            if row.expires_at > now:
                row.expires_at += days * _DAY
        self._clock.ahead += days * _DAY


class TestMemoryClaims(ClaimsSuite):
    @pytest.fixture
    async def deployment(self) -> Deployment:
        return MemoryDeployment()
