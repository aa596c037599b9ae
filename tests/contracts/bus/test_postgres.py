"""The bus on PostgreSQL keeps the guarantees of every bus."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import asyncpg
import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.bus.postgres import PostgresBusOptions, connect_postgres
from shared.bus.protocol import Bus
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.contracts.bus.suite import BusContract, ServedBusContract
from tests.servers.missing import skipping_without
from tests.servers.postgres import postgres_server

_PARTITION = """
SELECT partition.id FROM trelay.bus_topics AS topic JOIN trelay.bus_partitions AS partition ON topic_id = topic.id
WHERE name = $1 AND number = $2
"""
_DELETE_RECORDS = """
DELETE FROM trelay.bus_records USING trelay.bus_batches AS batch
JOIN trelay.bus_partitions AS partition ON partition.id = partition_id
JOIN trelay.bus_topics AS topic ON topic.id = topic_id
WHERE bus_records.tx = batch.tx AND name = $1
"""


class PostgresDeployment:
    """The database of one test."""

    def __init__(self, database: DatabaseOptions) -> None:
        self.database = database

    def connect(self) -> AbstractAsyncContextManager[Bus]:
        return connect_postgres(PostgresBusOptions(), self.database)

    async def forget(self, topic: str, partition: int, below: int) -> None:
        connection = await asyncpg.connect(self.database.url)
        identity = await connection.fetchval(_PARTITION, topic, partition)
        await connection.execute("SELECT trelay.bus_trim($1, $2)", identity, below)
        await connection.close()

    async def delete(self, topic: str) -> None:
        connection = await asyncpg.connect(self.database.url)
        await connection.execute(_DELETE_RECORDS, topic)
        await connection.execute("DELETE FROM trelay.bus_topics WHERE name = $1", topic)
        await connection.close()


@pytest.mark.every_postgres
class TestPostgresBus(BusContract):
    @pytest.fixture
    async def deployment(self, migrated_database: DatabaseOptions) -> PostgresDeployment:
        return PostgresDeployment(migrated_database)


class OwnPostgresDeployment(PostgresDeployment):
    """A server for one test alone."""

    def __init__(self, server: PostgresServer) -> None:
        self._own = server
        super().__init__(DatabaseOptions(url=server.dsn(), connect_timeout=2, statement_timeout=5))

    @property
    def options(self) -> str:
        database = self.database.model_dump(mode="json", exclude_none=True)
        return json.dumps({"bus": {"kind": "postgres"}, "database": database})

    async def stop_server(self) -> None:
        await asyncio.to_thread(self._own.kill)

    async def start_server(self) -> None:
        await asyncio.to_thread(self._own.start)


@pytest.fixture(scope="class")
def stopped_and_started(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server for one class, whose tests may stop it."""
    with skipping_without("PostgreSQL (wheel)", request.config), postgres_server() as server:
        yield server


class TestOwnPostgresBus(ServedBusContract):
    @pytest.fixture
    async def deployment(self, stopped_and_started: PostgresServer) -> OwnPostgresDeployment:
        if not stopped_and_started.running:
            await asyncio.to_thread(stopped_and_started.start)
        deployment = OwnPostgresDeployment(stopped_and_started)
        await migrate(deployment.database)
        return deployment
