"""A database upstream, for tests that run on each kind."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncmy

from tests.servers.mariadb import MariaDb


@dataclass(frozen=True)
class Upstream:
    """A database with no tables."""

    url: str
    execute: Callable[[str], Awaitable[Any]]
    """Runs one or more statements, with identifiers in double quotes."""
    column: Callable[[str], Awaitable[list[Any]]]
    """Returns the first column of the rows of a statement."""
    key: str
    """The declaration of a key that the database gives."""
    null: str = ""
    """The declaration of a time that may be NULL."""


@asynccontextmanager
async def mariadb_database(server: MariaDb) -> AsyncIterator[Upstream]:
    """A database of a MariaDB, dropped after."""
    name = f"test_{uuid.uuid4().hex}"
    connection = await asyncmy.connect(host="127.0.0.1", port=server.port, user="trelay", autocommit=True)

    async def run(statement: str) -> list[Any]:
        async with connection.cursor() as cursor:
            await cursor.execute(statement)
            return [row[0] for row in await cursor.fetchall()] if cursor.description else []

    async def execute(statements: str) -> None:
        for statement in statements.split("; "):
            await run(statement.rstrip(";"))

    try:
        await run(f"CREATE DATABASE {name} COLLATE utf8mb4_bin")
        await run(f"USE {name}")
        await run("SET SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+00:00'")
        yield Upstream(server.url(name), execute, run, "bigint AUTO_INCREMENT PRIMARY KEY", "NULL")
    finally:
        await run(f"DROP DATABASE {name}")
        await connection.ensure_closed()
