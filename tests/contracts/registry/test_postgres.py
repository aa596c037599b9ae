"""The registry in PostgreSQL passes the suite of every registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update

from services.experience_api.registry.clients import Client
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Registry
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.database.tables.clients import clients, consumers
from shared.database.tables.leases import leases
from shared.lease import LeaseStore, PostgresLeaseStore
from tests.contracts.registry.deployment import Deployment, alive, claimed, claims, dies
from tests.contracts.registry.suite import ClaimsSuite, ClientsSuite

pytestmark = pytest.mark.every_postgres

_TOKENS_AGO = """
    UPDATE trelay.consumers SET tokens = (
        SELECT jsonb_object_agg(key, value::double precision - extract(epoch FROM CAST(:ago AS interval)))
        FROM jsonb_each_text(tokens)
    )
    WHERE tokens IS NOT NULL
"""


class PostgresDeployment:
    """One database; each connection has its own engine, as each replica does."""

    def __init__(self, options: DatabaseOptions, leases: LeaseStore) -> None:
        self.leases = leases
        self._options = options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Registry]:
        async with PostgresRegistry.opened(self._options) as registry:
            yield registry

    async def pass_days(self, days: float) -> None:
        engine = create_engine(self._options)
        ago = timedelta(days=days)
        async with engine.begin() as connection:
            await connection.execute(
                update(consumers).values(
                    last_seen_at=consumers.c.last_seen_at - ago, previous_until=consumers.c.previous_until - ago
                )
            )
            await connection.execute(text(_TOKENS_AGO), {"ago": ago})
            await connection.execute(
                update(clients).values(previous_secret_until=clients.c.previous_secret_until - ago)
            )
            dead = update(leases).where(leases.c.expires_at <= func.now())
            await connection.execute(dead.values(expires_at=leases.c.expires_at - ago))
        await engine.dispose()


class _Deployed:
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> AsyncIterator[Deployment]:
        async with PostgresLeaseStore.opened(migrated_database) as store:
            yield PostgresDeployment(migrated_database, store)


class TestPostgresClients(_Deployed, ClientsSuite):
    """Clients, consumers and notices."""


class TestPostgresClaims(_Deployed, ClaimsSuite):
    """Connections."""


async def test_the_leases_of_nodes_that_died_long_ago_are_deleted(migrated_database: DatabaseOptions) -> None:
    async with PostgresLeaseStore.opened(migrated_database) as store:
        deployment = PostgresDeployment(migrated_database, store)
        async with deployment.connect() as registry:
            await registry.add(Client("demo", "x"))
            await registry.register(claims())
            holder, bare, living = [await alive(deployment, name) for name in ("held", "bare", "living")]
            await claimed(registry, holder)
            for node in (holder, bare):
                await dies(deployment, node)
            await store.acquire("source/old", "x", 0.001)
            await deployment.pass_days(2)
            assert await registry.release_dead() == 1
            assert await registry.release_dead() == 0
            engine = create_engine(migrated_database)
            async with engine.connect() as connection:
                names = (await connection.execute(select(leases.c.name).order_by(leases.c.name))).scalars().all()
            await engine.dispose()
    assert names == [f"node/{living.name}", "source/old"]
