"""Fixtures for the tests of tables."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.system_api.sources.table.postgresql.incremental import observing
from tests.integration.services.system_api.sources.table.table_poller import connected
from tests.integration.services.system_api.sources.table.upstreams import Upstream, mariadb_database
from tests.servers.mariadb import MariaDb, mariadb_server
from tests.servers.missing import skipping_without


@pytest.fixture
async def upstream(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


@pytest.fixture
async def other(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A second connection."""
    async with connected(database) as connection:
        yield connection


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "_MARGIN", 0)


@pytest.fixture(scope="session")
def mariadb(request: pytest.FixtureRequest) -> Iterator[MariaDb]:
    """A MariaDB that all tests share."""
    with skipping_without("MariaDB", request.config), mariadb_server() as server:
        yield server


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
async def each(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> AsyncIterator[Upstream]:
    """A database of each kind in turn."""
    if request.param == "mariadb":
        async with mariadb_database(request.getfixturevalue("mariadb")) as upstream:
            yield upstream
        return
    if request.param == "postgresql":
        async with connected(database) as connection:
            await connection.execute("SET TimeZone = 'UTC'")

            async def column(statement: str) -> list[Any]:
                return [row[0] for row in await connection.fetch(statement)]

            yield Upstream(database, connection.execute, column, "bigserial PRIMARY KEY")
        return
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as file:

        async def execute(statement: str) -> None:
            file.executescript(statement)

        async def fetched(statement: str) -> list[Any]:
            return [row[0] for row in file.execute(statement)]

        yield Upstream(f"sqlite:///{tmp_path}/shop.db", execute, fetched, "INTEGER PRIMARY KEY AUTOINCREMENT")
