"""What can be compared in PostgreSQL beyond plain tables."""

from typing import Any

import asyncpg
import pytest

from tests.integration.services.system_api.sources.table.table_poller import TablePoller


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._PAUSE", 0)


@pytest.mark.every_postgres
async def test_a_materialized_view(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE kept (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n int)")
    await upstream.execute("INSERT INTO kept (n) VALUES (1), (2)")
    await upstream.execute("CREATE MATERIALIZED VIEW orders AS SELECT * FROM kept")
    poller = TablePoller(database, mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
        await upstream.execute("UPDATE kept SET n = 3 WHERE n = 1; DELETE FROM kept WHERE n = 2")
        assert await poller.drain(source) == []
        await upstream.execute("REFRESH MATERIALIZED VIEW orders")
        await poller.drain(source)
    assert sorted(event["data"].get("n", 0) for event in poller.events) == [0, 1, 2, 3]


async def test_rows_that_fail_the_statement_are_rejected_alone_and_once(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE kept (id bigserial PRIMARY KEY, note text)")
    await upstream.execute(
        "INSERT INTO kept (note) SELECT CASE WHEN n % 50 = 7 THEN 'x' ELSE n::text END FROM generate_series(1, 250) n"
    )
    await upstream.execute("CREATE VIEW orders AS SELECT id, note::int AS n FROM kept")
    poller = TablePoller(database, mode="diff")
    for _ in range(2):
        async with poller.opened() as source:
            await poller.drain(source)
            await poller.drain(source)
    assert poller.ids == [number for number in range(1, 251) if number % 50 != 7]
    assert len(poller.rejects) == 5
    assert poller.rejects[0][1] == 'orders, key 7: invalid input syntax for type integer: "x"'
    async with poller.opened() as source:
        await upstream.execute("UPDATE kept SET note = '7' WHERE id = 7")
        await poller.drain(source)
    assert poller.ids[-1] == 7
    assert len(poller.rejects) == 5


async def test_several_rows_with_one_key_in_a_view_are_a_problem(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE VIEW orders AS SELECT g / 2 AS id, g AS n FROM generate_series(2, 6) g")
    poller = TablePoller(database, mode="diff")
    async with poller.opened() as source:
        await poller.drain(source)
        await poller.drain(source)
    assert poller.problems == ("several rows have the key '2', and only one of them is read: change `key`",)


async def test_a_notification_begins_the_next_pass(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.diff.source._PAUSE", 10**9)
    await upstream.execute("CREATE TABLE orders (id text PRIMARY KEY)")
    poller = TablePoller(database, mode="diff", notify="news")
    async with poller.opened() as source:
        await poller.drain(source)
        await upstream.execute("INSERT INTO orders VALUES ('a')")
        assert await poller.drain(source) == []
        await upstream.execute("NOTIFY news")
        await source.wait_for_change()
        found: list[Any] = await poller.drain(source)
        assert found == [{"id": "a"}]
