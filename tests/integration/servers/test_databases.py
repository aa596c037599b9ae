import asyncpg
import pytest

from tests.servers.databases import Databases
from tests.servers.postgres import GivenPostgres, Postgres

pytestmark = pytest.mark.every_postgres


async def fetch(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_a_fresh_database_is_empty(database: str) -> None:
    assert await fetch(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


async def test_a_template_is_prepared_once_and_its_copies_are_apart(databases: Databases) -> None:
    prepared = []

    async def prepare(dsn: str) -> None:
        prepared.append(dsn)
        await fetch(dsn, "CREATE TABLE seeded AS SELECT 7 AS value")

    async with databases.fresh(prepare) as one, databases.fresh(prepare) as other:
        await fetch(one, "UPDATE seeded SET value = 8")
        assert await fetch(other, "SELECT value FROM seeded") == 7
    assert len(prepared) == 1


async def test_a_connection_that_is_left_open_is_closed_and_its_database_is_dropped(
    postgres: Postgres, databases: Databases
) -> None:
    async with databases.fresh() as dsn:
        connection = await asyncpg.connect(dsn)
        name = await connection.fetchval("SELECT current_database()")
    assert connection.is_closed()
    assert await fetch(postgres.dsn(), f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == 0


def test_a_given_server_keeps_its_login_and_options_in_every_dsn() -> None:
    given = GivenPostgres("postgresql://me:secret@db.example:5433/mine?sslmode=disable")
    assert given.dsn("other") == "postgresql://me:secret@db.example:5433/other?sslmode=disable"
    assert given.dsn() == given.address
