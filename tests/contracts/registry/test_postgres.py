"""The registry in PostgreSQL keeps the promises of every registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import func, update

from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Registry
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.database.tables import consumers, leases
from shared.lease import LeaseStore, PostgresLeaseStore
from tests.contracts.registry.deployment import Deployment
from tests.contracts.registry.suite import ClaimsSuite, ClientsSuite

pytestmark = pytest.mark.every_postgres


class PostgresDeployment:
    """One database; each connection has an engine of its own, as each replica has."""

    def __init__(self, options: DatabaseOptions, leases: LeaseStore) -> None:
        self.leases = leases
        self._options = options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Registry]:
        engine = create_engine(self._options)
        try:
            yield PostgresRegistry(engine, self._options)
        finally:
            await engine.dispose()

    async def pass_days(self, days: float) -> None:
        engine = create_engine(self._options)
        ago = timedelta(days=days)
        async with engine.begin() as connection:
            await connection.execute(update(consumers).values(last_seen_at=consumers.c.last_seen_at - ago))
            dead = update(leases).where(leases.c.expires_at <= func.now())
            await connection.execute(dead.values(expires_at=leases.c.expires_at - ago))
        await engine.dispose()


class _Deployed:
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> AsyncIterator[Deployment]:
        async with PostgresLeaseStore.opened(migrated_database) as store:
            yield PostgresDeployment(migrated_database, store)


class TestPostgresClients(_Deployed, ClientsSuite):
    """See `deployment`."""


class TestPostgresClaims(_Deployed, ClaimsSuite):
    """See `deployment`."""
