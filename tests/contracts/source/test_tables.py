"""Tables in PostgreSQL and in SQLite, in each mode."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.system_api.sources.table.opening import TableSourceKind
from services.system_api.sources.table.postgresql.replication.slot import Slot, create
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, record, unchanged
from tests.servers.proxy import Proxy

REPLICATION: dict[str, Any] = {"mode": "replication", "initial_snapshot": False}
MODES: dict[str, dict[str, Any]] = {
    "key": {},
    "time": {"updated_at_column": "at"},
    "outbox": {"mode": "outbox"},
    "diff": {"mode": "diff"},
    "query": {"mode": "diff", "query": "SELECT t.* FROM numbers t LEFT JOIN numbers u ON u.id = t.id"},
}
COLUMNS = "n integer, k text"


def options(url: str, **more: Any) -> TableSourceKind:
    settings = {"kind": "table", "url": url, "subject": "k", "columns": ["n", "k"]}
    settings |= {} if "query" in more else {"table": "numbers"}
    return TableSourceKind.model_validate({**COMMON, **settings, **more})


class PostgresTable:
    exactly_once = True

    def __init__(self, proxy: Proxy, database: str, connection: asyncpg.Connection, settings: dict[str, Any]) -> None:
        self.outage = proxy.outage
        self.slow = proxy.slow
        self._url = database.replace(f":{urlsplit(database).port}/", f":{proxy.port}/")
        self._connection = connection
        self._settings = settings

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, database: str, settings: dict[str, Any]) -> AsyncIterator["PostgresTable"]:
        connection = await asyncpg.connect(database)
        try:
            await connection.execute(
                f"CREATE TABLE numbers (id bigserial PRIMARY KEY, {COLUMNS}, at timestamptz DEFAULT now())"
            )
            await connection.execute("CREATE INDEX ON numbers (at, id)")
            async with Proxy.before("127.0.0.1", urlsplit(database).port or 0) as proxy:
                yield cls(proxy, database, connection, settings)
        finally:
            await connection.close()

    def options(self) -> TableSourceKind:
        return options(self._url, **self._settings)

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self.insert(number, record(number)["k"])

    async def write_poison(self) -> None:
        await self.insert(-1, None)

    async def replicate(self, slot: Slot) -> None:
        """Create the slot, and let the log have the subject of deleted rows."""
        await self._connection.execute("ALTER TABLE numbers REPLICA IDENTITY FULL")
        await create(self._connection, slot, "numbers")

    async def insert(self, number: int, key: str | None) -> None:
        await self._connection.execute("INSERT INTO numbers (n, k) VALUES ($1, $2)", number, key)


class SqliteTable:
    exactly_once = True

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._settings = settings
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.execute(f"CREATE TABLE numbers (id INTEGER PRIMARY KEY AUTOINCREMENT, {COLUMNS}, at TEXT)")

    def options(self) -> TableSourceKind:
        return options(f"sqlite:///{self._path}", **self._settings)

    async def write(self, numbers: Sequence[int]) -> None:
        await asyncio.to_thread(self._insert, [(number, record(number)["k"]) for number in numbers])

    async def write_poison(self) -> None:
        await asyncio.to_thread(self._insert, [(-1, None)])

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Move the file away."""
        away = self._path.with_suffix(".away")
        self._path.rename(away)
        yield
        away.rename(self._path)

    def slow(self) -> contextlib.AbstractAsyncContextManager[None]:
        return unchanged()

    def _insert(self, rows: list[tuple[int, str | None]]) -> None:
        with contextlib.closing(sqlite3.connect(self._path, timeout=20)) as file, file:
            for number, key in rows:  # rows of one time are in the order of their keys as text
                at = datetime.now(UTC).isoformat(" ", "microseconds")
                file.execute("INSERT INTO numbers (n, k, at) VALUES (?, ?, ?)", (number, key, at))


class TestPostgres(SourceContract):
    @pytest.fixture(params=MODES)
    async def upstream(self, request: pytest.FixtureRequest, database: str) -> AsyncIterator[PostgresTable]:
        async with PostgresTable.opened(database, MODES[request.param]) as upstream:
            yield upstream


class TestReplication(SourceContract):
    @pytest.fixture
    async def upstream(self, logical_database: str, unique_name: str) -> AsyncIterator[PostgresTable]:
        """The slot is there before the first row: the rows of a snapshot are in no order with those of the log."""
        slot = Slot(unique_name.replace("-", "_").lower(), "numbers")
        settings = {"slot": slot.name, "publication": slot.publication}
        async with PostgresTable.opened(logical_database, REPLICATION | settings) as upstream:
            await upstream.replicate(slot)
            yield upstream


class TestSqlite(SourceContract):
    @pytest.fixture(params=MODES)
    def upstream(self, request: pytest.FixtureRequest, tmp_path: Path) -> SqliteTable:
        return SqliteTable(tmp_path / "numbers.db", MODES[request.param])
