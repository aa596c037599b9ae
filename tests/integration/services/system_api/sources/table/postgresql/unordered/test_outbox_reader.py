"""Outboxes in PostgreSQL: rows that others have locked, and rows that fail the statement."""

import secrets

import asyncpg
import pytest

from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import TablePoller, connected, encoded_database
from tests.integration.services.system_api.sources.table.test_outbox import publish
from tests.servers.postgres import Postgres


@pytest.mark.every_postgres
async def test_a_row_that_another_session_has_locked_is_left_out(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), n int)")
    await upstream.execute("INSERT INTO orders (n) VALUES (1), (2), (3)")
    poller = TablePoller(database, mode="outbox")
    async with poller.opened() as source:
        async with connected(database) as other, other.transaction():
            await other.execute("SELECT 1 FROM orders WHERE n = 2 FOR UPDATE")
            assert await publish(poller, source) == 2
        assert await publish(poller, source) == 1
    assert sorted(event["data"]["n"] for event in poller.events) == [1, 2, 3]
    assert await upstream.fetchval("SELECT count(*) FROM orders") == 0


async def test_rows_that_commit_late_are_published_late(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY)")
    poller = TablePoller(database, mode="outbox")
    async with poller.opened() as source, connected(database) as late:
        transaction = late.transaction()
        await transaction.start()
        await late.execute("INSERT INTO orders DEFAULT VALUES")
        await upstream.execute("INSERT INTO orders DEFAULT VALUES")
        assert await publish(poller, source) == 1
        await transaction.commit()
        assert await publish(poller, source) == 1
    assert poller.ids == [2, 1]


async def test_a_row_that_fails_the_statement_is_rejected_alone_and_stays(postgres: Postgres) -> None:
    async with encoded_database(postgres, "SQL_ASCII") as dsn, connected(dsn) as upstream:
        await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, who text)")
        await upstream.execute("INSERT INTO orders (who) VALUES ('a'), (E'\\xff'), ('c')")
        poller = TablePoller(dsn, mode="outbox")
        async with poller.opened() as source:
            assert await publish(poller, source) == 2
            assert await publish(poller, source) == 0
        assert await upstream.fetchval("SELECT array_agg(id) FROM orders") == [2]
    assert poller.ids == [1, 3]
    assert poller.rejects == [("orders:2", 'orders, key 2: invalid byte sequence for encoding "UTF8": 0xff')]


@pytest.mark.parametrize(
    "keeping",
    [
        """
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER keep BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION keep()
        """,
        "CREATE RULE keep AS ON DELETE TO orders DO INSTEAD NOTHING",
        """
        ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
        CREATE POLICY seen ON orders FOR SELECT USING (true);
        CREATE POLICY locked ON orders FOR UPDATE USING (true)
        """,
    ],
)
async def test_rows_that_cannot_be_deleted_are_an_error_and_not_published_again(
    database: str, upstream: asyncpg.Connection, keeping: str
) -> None:
    await upstream.execute(f"CREATE TABLE orders (id bigserial PRIMARY KEY); INSERT INTO orders VALUES (1); {keeping}")
    name = f"r{secrets.token_hex(8)}"
    await upstream.execute(f"CREATE ROLE {name} LOGIN; GRANT SELECT, UPDATE, DELETE ON orders TO {name}")
    try:
        poller = TablePoller(database.replace("trelay@", f"{name}@"), mode="outbox")
        for _ in range(2):
            with pytest.raises(
                SettingsError, match="1 of 1 rows that were published are still unpublished in the table"
            ):
                async with poller.opened() as source:
                    await publish(poller, source)
        assert poller.ids == [1]
    finally:
        await upstream.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


async def test_a_column_that_cannot_mark_rows_is_refused(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, done text)")
    with pytest.raises(
        SettingsError, match=r"published_column: table orders: column 'done' is text; expected timestamp"
    ):
        async with TablePoller(database, mode="outbox", published_column="done").opened():
            pass
