"""Look-ups by SQL, on real servers."""

import asyncio
import concurrent.futures
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from services.standalone.embedded.process import free_port
from tests.integration.services.process_api.pipeline.steps.running import running
from tests.servers.mariadb import MariaDb, mariadb_server
from tests.servers.missing import skipping_without

TABLE = [
    "CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(20), credit NUMERIC(20, 2), since TIMESTAMP NULL)",
    "INSERT INTO customers VALUES (1, 'Ada', 12345678901234567.25, '2026-01-02 03:04:05'), (2, 'Bob', NULL, NULL)",
]
QUERY = "SELECT id, name, credit, since FROM customers WHERE id IN :keys"


@pytest.fixture(scope="module")
def mariadb(request: pytest.FixtureRequest) -> Iterator[MariaDb]:
    with skipping_without("MariaDB", request.config), mariadb_server() as server:
        yield server


@dataclass
class Upstream:
    url: str
    driver: str

    async def execute(self, *statements: str) -> None:
        url = make_url(self.url)
        engine = create_async_engine(
            URL.create(self.driver, url.username, url.password, url.host, url.port, url.database, url.query)
        )
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()


@pytest.fixture(params=["postgresql", "mariadb"])
async def upstream(request: pytest.FixtureRequest, database: str) -> Upstream:
    if request.param == "mariadb":
        made = Upstream(request.getfixturevalue("mariadb").url(), "mysql+asyncmy")
        await made.execute("DROP TABLE IF EXISTS customers")
    else:
        made = Upstream(database, "postgresql+asyncpg")
    await made.execute(*TABLE)
    return made


def enrich(url: str, **more: Any) -> Any:
    sql = {"url": url, "query": QUERY, **more}
    return {"enrich": {"sql": sql, "key": "customer", "into": "data.found", "cache": {"ttl": 0, "negative_ttl": 0}}}


async def test_one_query_serves_a_batch_and_numbers_are_exact(upstream: Upstream) -> None:
    async with running(enrich(upstream.url)) as run:
        one, two, none, wrong = await run({"customer": 1}, {"customer": 2}, {"customer": 3}, {"customer": [1]})
    found = one["found"]
    assert (found["id"], found["name"], found["since"][:19]) == (1, "Ada", "2026-01-02T03:04:05")
    assert two["found"] == {"id": 2, "name": "Bob", "credit": None, "since": None}
    assert none == {"customer": 3}
    assert isinstance(wrong, Rejected)


async def test_a_key_that_the_query_refuses_concerns_its_event_alone(upstream: Upstream) -> None:
    async with running(enrich(upstream.url)) as run:
        one, wrong = await run({"customer": 1}, {"customer": "x" if "postgres" in upstream.url else [1]})
    assert one["found"]["name"] == "Ada"
    assert isinstance(wrong, Rejected)


async def test_a_row_on_which_the_query_fails_concerns_its_event_alone(upstream: Upstream) -> None:
    several = "SELECT id, (SELECT name FROM customers c WHERE c.id <= o.id) AS name FROM customers o WHERE id IN :keys"
    async with running(enrich(upstream.url, query=several)) as run:
        one, two = await run({"customer": 1}, {"customer": 2})
    assert one["found"] == {"id": 1, "name": "Ada"}
    assert isinstance(two, Rejected)


async def test_a_query_that_cannot_work_holds_until_it_can(upstream: Upstream) -> None:
    async with running(enrich(upstream.url)) as run:
        assert (await run({"customer": 1}))[0]["found"]["name"] == "Ada"
        await upstream.execute("DROP TABLE customers")
        (held,) = await run({"customer": 1})
        assert isinstance(held, Blocked)
        assert "customers" in str(held)
        await upstream.execute(*TABLE)
        (again,) = await run({"customer": 1})
    assert again["found"]["name"] == "Ada"


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
async def test_a_server_that_is_not_there_holds(scheme: str) -> None:
    async with running(enrich(f"{scheme}://trelay@127.0.0.1:{free_port()}/trelay")) as run:
        (held,) = await run({"customer": 1})
    assert isinstance(held, Blocked)


async def test_a_query_that_takes_too_long_holds(database: str) -> None:
    slow = enrich(database, query="SELECT id FROM (SELECT 1 AS id, pg_sleep(30)) s WHERE id IN :keys", timeout=0.3)
    async with running(slow) as run:
        (held,) = await run({"customer": 1})
    assert "no answer within 0.3 s" in str(held)


COUNTING = "WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted {limit})"


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    with contextlib.closing(sqlite3.connect(tmp_path / "customers.db")) as connection:
        connection.execute("CREATE TABLE customers (id TEXT, name TEXT)")
        connection.commit()
    return f"sqlite:///{tmp_path}/customers.db"


async def test_a_query_of_sqlite_that_never_ends_does_not_keep_its_thread(sqlite: str) -> None:
    query = f"{COUNTING.format(limit='')} SELECT max(n), 'x' FROM counted WHERE 'a' IN :keys"
    with concurrent.futures.ThreadPoolExecutor(1) as only_thread:
        asyncio.get_running_loop().set_default_executor(only_thread)
        async with running(enrich(sqlite, query=query, timeout=0.2)) as run:
            for _ in range(2):
                (held,) = await run({"customer": "a"})
                assert isinstance(held, Blocked)
                assert "no answer within 0.2 s" in str(held)
            async with asyncio.timeout(60):
                assert await asyncio.to_thread(lambda: "free") == "free"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_rows_that_are_too_large_concern_their_event_alone(kind: str, sqlite: str, database: str) -> None:
    if kind == "sqlite":
        url, text_ = sqlite, "CASE WHEN n > 0 THEN hex(zeroblob(524288)) END"
    else:
        url, text_ = database, "repeat('x', 1048576)"
    query = f"{COUNTING.format(limit='WHERE n < 100')} SELECT 'a' AS id, {text_} FROM counted WHERE 'a' IN :keys"
    query += " UNION ALL SELECT 'b', 'small' WHERE 'b' IN :keys"
    async with running(enrich(url, query=query, rows="all")) as run:
        large, small = await run({"customer": "a"}, {"customer": "b"})
    assert isinstance(large, Rejected)
    assert "rows of more than 67108864 bytes" in str(large)
    assert [list(row.values()) for row in small["found"]] == [["b", "small"]]
