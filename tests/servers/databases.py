"""A fresh database for each test, copied from a template: cheaper than migrating, cleaner than emptying."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from tests.servers.open_connections import close_all
from tests.servers.postgres import Postgres

Prepare = Callable[[str], Awaitable[None]]
"""Makes tables and rows in the empty database of a DSN, and closes its connections."""


class Databases:
    """The databases of one server."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._templates: dict[Prepare, str] = {}

    @asynccontextmanager
    async def fresh(self, prepare: Prepare | None = None) -> AsyncIterator[str]:
        """Yield the DSN of a new database, dropped after; `prepare` runs once a server and is copied from then on."""
        template = "template0" if prepare is None else await self._template(prepare)
        name = await self._create(template)
        try:
            yield self._server.dsn(name)
        finally:
            close_all(name)
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def drop_slots(self, dsn: str) -> None:
        """Drop the replication slots of a database, which keep it from being dropped."""
        name = urlsplit(dsn).path.removeprefix("/")
        of_database = f"FROM pg_replication_slots WHERE database = '{name}'"
        await self._execute(f"SELECT pg_terminate_backend(active_pid) {of_database} AND active_pid IS NOT NULL")
        await self._execute(f"SELECT pg_drop_replication_slot(slot_name) {of_database}")

    async def drop_templates(self) -> None:
        """Drop every database, because the server may be shared."""
        while self._templates:
            _, name = self._templates.popitem()
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _template(self, prepare: Prepare) -> str:
        if prepare not in self._templates:
            name = await self._create("template0")
            await prepare(self._server.dsn(name))
            self._templates[prepare] = name
        return self._templates[prepare]

    async def _create(self, template: str) -> str:
        name = f"test_{uuid.uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.dsn())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
