"""Rows without a key, or without a time if they are ordered by it."""

from typing import Any

import asyncpg
import pytest

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.table.table_poller import TablePoller


@pytest.mark.parametrize(
    ("nullable", "options"),
    [
        ("id", {"overlap": 0.01}),
        ("changed", {"updated_at_column": "changed"}),
        ("id", {"updated_at_column": "changed"}),
    ],
)
async def test_rows_without_a_key_go_to_the_dead_letter_once(
    database: str, upstream: asyncpg.Connection, nullable: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._NULL_KEY_INTERVAL", 0.0)
    monkeypatch.setattr("services.system_api.sources.table.source._NULL_KEY_SHARE", 0)
    await upstream.execute("CREATE TABLE orders (id bigint UNIQUE, n int, changed timestamptz DEFAULT now())")
    await upstream.execute(
        f"INSERT INTO orders (id, n) VALUES (1, 1), (2, 2); UPDATE orders SET {nullable} = NULL WHERE n = 2"
    )
    poller = TablePoller(database, **options)
    for _ in range(2):
        async with poller.opened() as source:
            await poller.poll(source)
            await poller.poll(source)
    assert poller.ids == [1]
    [(identity, error)] = poller.rejects
    assert identity.startswith("orders:null-key.")
    assert error == f"orders, row without key or time: column '{nullable}' is NULL"
    async with poller.opened() as source:
        await upstream.execute("UPDATE orders SET n = 3 WHERE n = 2")
        await poller.poll(source)
        assert len(poller.rejects) == 2
        await upstream.execute("UPDATE orders SET id = 2, changed = now() WHERE n = 3")
        assert [row["n"] for row in await poller.poll(source)] == [3]


async def test_a_slow_search_for_rows_without_a_key_does_not_delay_other_rows(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE kept (id bigint UNIQUE, n bigserial)")
    await upstream.execute("INSERT INTO kept VALUES (1), (2); INSERT INTO kept SELECT NULL FROM generate_series(1, 9)")
    await upstream.execute("CREATE VIEW orders AS SELECT id, CASE WHEN id IS NULL THEN pg_sleep(1)::text END FROM kept")
    poller = TablePoller(database, poll_timeout=3.0, overlap=0.01)
    async with poller.opened() as source:
        with pytest.raises(Unavailable):
            await poller.poll(source)
        assert len(await poller.poll(source)) == 2
        assert len(poller.problems) == 1
        assert "cannot search for rows without a key or a time" in poller.problems[0]
        await upstream.execute("INSERT INTO kept VALUES (3)")
        assert len(await poller.poll(source)) == 1


async def test_a_row_without_a_key_that_fails_the_statement_stops_no_other(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE kept (id bigint UNIQUE, note text)")
    await upstream.execute("INSERT INTO kept VALUES (1, '1'), (NULL, 'x')")
    await upstream.execute("CREATE VIEW orders AS SELECT id, note::int AS n FROM kept")
    poller = TablePoller(database, overlap=0.01)
    async with poller.opened() as source:
        with pytest.raises(Unavailable):
            await poller.poll(source)
        assert len(await poller.poll(source)) == 1
    [problem] = poller.problems
    assert problem.endswith('invalid input syntax for type integer: "x"')
