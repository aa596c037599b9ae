"""Stands in for the poller in tests of table sources: opens one on a database, polls and saves."""

import json
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.system_api.sources.source import Batch, Source
from services.system_api.sources.table.opening import table_source
from services.system_api.sources.table.options import TableSourceOptions
from shared.bus.protocol import Outgoing
from shared.runtime.clock import SYSTEM_CLOCK
from tests.servers.postgres import Postgres

TIMED = "CREATE TABLE orders (id bigserial PRIMARY KEY, n int, changed timestamptz NOT NULL DEFAULT now())"
INDEX = "CREATE INDEX ON orders (changed, id)"
BUMP = "UPDATE orders SET n = n + 1, changed = now()"


class TablePoller:
    """A source named `orders` with what it has saved and emitted so far."""

    def __init__(self, url: str, **more: Any) -> None:
        self.options = TableSourceOptions.model_validate(
            {"kind": "table", "url": url, "type": "order"} | ({} if "query" in more else {"table": "orders"}) | more
        )
        self.saved: dict[str, bytes] = {}
        self.events: list[dict[str, Any]] = []
        self.rejects: list[tuple[str, str]] = []
        """Ids and errors."""
        self.problems: tuple[str, ...] = ()
        self.waiting: tuple[str, ...] = ()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Source]:
        open_source = table_source("orders", self.options, SYSTEM_CLOCK, random.Random(1))
        async with open_source(dict(self.saved)) as source:
            yield source

    async def poll(self, source: Source, limit: int = 1000) -> list[dict[str, Any]]:
        """Poll once and save; return the data of the events."""
        return self.save(await source.poll(limit))

    async def drain(self, source: Source, limit: int = 1000) -> list[dict[str, Any]]:
        """Poll until nothing more is waiting."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            batch = await source.poll(limit)
            found += self.save(batch)
            more = batch.more
        return found

    def save(self, batch: Batch) -> list[dict[str, Any]]:
        """Save the checkpoint of a batch; return the data of its events."""
        assert batch.rows in {None, len(batch.records) + len(batch.rejects) + batch.skipped}, "rows are unaccounted for"
        for part, value in batch.checkpoint.items():
            if value is None:
                self.saved.pop(part)
            else:
                self.saved[part] = value
        events = [event_of(record) for record in batch.records]
        self.events += events
        self.rejects += [(reject.id, reject.error) for reject in batch.rejects]
        self.problems = batch.problems
        self.waiting = batch.waiting
        return [event["data"] for event in events]

    @property
    def ids(self) -> list[Any]:
        """The column `id` of all events."""
        return [event["data"]["id"] for event in self.events]


def event_of(record: Outgoing) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(record.value or b"")
    return event


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of an application upstream."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def encoded_database(postgres: Postgres, encoding: str) -> AsyncIterator[str]:
    """The DSN of a database of another encoding than UTF-8, which exists as long as the context."""
    name = f"test_{secrets.token_hex(8)}"
    async with connected(postgres.dsn("postgres")) as server:
        await server.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        try:
            yield postgres.dsn(name)
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
