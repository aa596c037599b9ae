"""The keys in PostgreSQL pass the suite of every store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from services.experience_api.producers.once.postgres import PostgresKeyStore
from services.experience_api.producers.once.store import KeyStore
from services.experience_api.registry.protocol import Node
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.lease import Granted, PostgresLeaseStore
from tests.contracts.once.suite import A, B, Deployment, KeyStoreSuite

pytestmark = pytest.mark.every_postgres


class PostgresDeployment:
    """One database; each connection has a pool of its own, as each replica does."""

    def __init__(self, options: DatabaseOptions) -> None:
        self.options = options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[KeyStore]:
        async with ConnectionPool.opened(self.options, size=4, purpose="test") as pool:
            yield PostgresKeyStore(pool)

    async def alive(self, name: str) -> Node:
        async with PostgresLeaseStore.opened(self.options) as leases:
            answer = await leases.acquire(f"node/{name}", name, 600.0)
        assert isinstance(answer, Granted)
        return Node(name, answer.epoch)

    async def dies(self, node: Node) -> None:
        async with PostgresLeaseStore.opened(self.options) as leases:
            await leases.release(f"node/{node.name}", node.name, node.epoch)

    async def pass_hours(self, hours: float) -> None:
        ago = timedelta(hours=hours)
        connection = await asyncpg.connect(self.options.url)
        await connection.execute("UPDATE trelay.pushed_keys SET claimed_at = claimed_at - $1::interval", ago)
        await connection.execute("UPDATE trelay.push_writers SET closed_at = closed_at - $1::interval", ago)
        await connection.close()


class TestPostgresKeyStore(KeyStoreSuite):
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> Deployment:
        return PostgresDeployment(migrated_database)


async def test_closed_writers_are_forgotten_with_their_keys(migrated_database: DatabaseOptions) -> None:
    deployment = PostgresDeployment(migrated_database)
    node = await deployment.alive("one")
    async with deployment.connect() as store:
        await store.open("closed", node)
        await store.open("open", node)
        await store.claim("closed", 1, [A], 0)
        await store.claim("open", 1, [B], 0)
        await store.close("closed", 1)
        await deployment.pass_hours(26)
        await store.sweep(24, 10)
    connection = await asyncpg.connect(migrated_database.url)
    assert [row["name"] for row in await connection.fetch("SELECT name FROM trelay.push_writers")] == ["open"]
    assert await connection.fetchval("SELECT count(*) FROM trelay.pushed_keys") == 0
    await connection.close()
