"""Connections that are lost or refused, and tables that have changed meanwhile."""

import asyncpg
import pytest

from shared.errors import SettingsError, Unavailable
from tests.integration.services.system_api.sources.table.table_poller import TIMED, TablePoller

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trelay source orders'"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("DROP TABLE orders", "there is no table 'orders'"),
        ("ALTER TABLE orders RENAME id TO number", "no column 'id'; it has number"),
        ("ALTER TABLE orders ALTER changed TYPE timestamp", "the type of column 'changed' has changed to timestamp"),
    ],
)
async def test_a_table_that_has_changed_is_an_error(
    database: str, upstream: asyncpg.Connection, change: str, error: str
) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(database, updated_at_column="changed", time_zone="UTC")
    async with poller.opened() as source:
        await poller.poll(source)
        await upstream.execute(change)
        await upstream.execute(TERMINATE)
        with pytest.raises(Unavailable):
            await poller.poll(source)
        with pytest.raises(SettingsError, match=error):
            await poller.poll(source)


async def test_a_table_that_is_dropped_and_created_again(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(database)
    async with poller.opened() as source:
        await poller.poll(source)
        await upstream.execute("DROP TABLE orders")
        with pytest.raises(Unavailable, match=r"does not exist$"):
            await poller.poll(source)
        await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (7)")
        assert [row["n"] for row in await poller.poll(source)] == [7]


async def test_columns_may_be_added(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(database)
    async with poller.opened() as source:
        for number in range(3):
            await upstream.execute(f"ALTER TABLE orders ADD c{number} int DEFAULT {number}")
            await upstream.execute("INSERT INTO orders (n) VALUES (1)")
            assert [row[f"c{number}"] for row in await poller.poll(source)] == [number]


async def test_unreachable_and_refused(database: str) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/"):
        async with TablePoller("postgresql://nobody@127.0.0.1:1/nothing").opened():
            pass
    server, _, _ = database.rpartition("/")
    with pytest.raises(Unavailable, match="no_such_database"):
        async with TablePoller(f"{server}/no_such_database").opened():
            pass


async def test_a_pooler_in_transaction_mode_is_an_error_that_says_so(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(database)
    async with poller.opened() as source:
        await poller.poll(source)
        # As behind such a pooler: the session of the next transaction does not have its prepared statements.
        await source._reader._keeper.current.connection.execute("DEALLOCATE ALL")  # type: ignore[attr-defined]
        with pytest.raises(Unavailable, match="through a pooler in session mode"):
            await poller.poll(source)
        await upstream.execute("INSERT INTO orders (n) VALUES (1)")
        assert len(await poller.poll(source)) == 1
