"""Tables in PostgreSQL: which rows are final, which are read early, and which go to the dead letter."""

import asyncio
import contextlib
import json
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.table.table_poller import BUMP, INDEX, TIMED, TablePoller, connected
from tests.servers.databases import Databases


async def test_values_and_names_are_unchanged(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("""
        CREATE SCHEMA "Shop";
        CREATE TABLE "Shop"."Order ""s" (
            "Id" bigserial PRIMARY KEY, t text, c numeric, big bigint, "%b" text, at timestamptz, raw bytea
        );
        INSERT INTO "Shop"."Order ""s" (t, c, big, "%b", at, raw)
        VALUES ('Zoë "q" \\', 12345678901234567890.123456789, 9007199254740993, '%s', 'infinity', '\\x00ff');
    """)
    _, _, name = database.rpartition("/")
    await upstream.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Tokyo'")
    poller = TablePoller(database, table='Shop.Order "s', key="Id")
    async with poller.opened() as source:
        (record,) = (await source.poll(10)).records
    assert record.value is not None
    assert b'"big":9007199254740993' in record.value
    assert b'"c":12345678901234567890.123456789' in record.value
    poller = TablePoller(database, table='Shop.Order "s', key="Id", columns=["t", "c", "raw"], subject="%b")
    async with poller.opened() as source:
        (data,) = await poller.poll(source)
    assert list(data) == ["t", "c", "raw"]
    assert data["t"] == 'Zoë "q" \\'
    assert data["raw"] == "\\x00ff"
    (event,) = poller.events
    assert (event["id"], event["subject"], event["source"]) == ("orders:1", "%s", "/sources/orders")


@pytest.mark.every_postgres
@pytest.mark.parametrize("changed", [None, "changed"])
async def test_a_row_that_commits_late_is_read_late_and_once(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, changed: str | None, no_margin: None
) -> None:
    await upstream.execute(TIMED + ";" + INDEX)
    poller = TablePoller(database, updated_at_column=changed)
    late = upstream.transaction()
    await late.start()
    await upstream.execute("INSERT INTO orders (n) VALUES (1)")
    async with poller.opened() as source:
        await other.execute("INSERT INTO orders (n) VALUES (2)")
        assert [row["n"] for row in await poller.poll(source)] == [2]
        assert await poller.poll(source) == []
        await late.commit()
        assert [row["n"] for row in await poller.poll(source)] == [1]
        assert await poller.poll(source) == []
    async with poller.opened() as source:
        assert await poller.poll(source) == []
        await other.execute("INSERT INTO orders (n) VALUES (3)")
        assert [row["n"] for row in await poller.poll(source)] == [3]
    assert len({event["id"] for event in poller.events}) == 3


async def test_the_time_of_a_transaction_without_an_id_is_waited_for(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, no_margin: None
) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(database, updated_at_column="changed")
    late = upstream.transaction()
    await late.start()
    await upstream.execute("SELECT 1")
    async with poller.opened() as source:
        for number in range(3):
            await other.execute("INSERT INTO orders (n) VALUES ($1)", number)
            await poller.poll(source)
        await upstream.execute("INSERT INTO orders (n) VALUES (9)")
        await late.commit()
        assert [row["n"] for row in await poller.poll(source)] == [9]


async def test_two_updates_with_the_same_time_are_both_read(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    await upstream.execute("INSERT INTO orders (n, changed) VALUES (1, '2001-02-03 04:05:06.789+00')")
    poller = TablePoller(database, updated_at_column="changed", overlap=86_400)
    moment = "2999-01-01 00:00:00+00"
    async with poller.opened() as source:
        await poller.poll(source)
        for number in (2, 3):
            await upstream.execute(f"UPDATE orders SET n = {number}, changed = '{moment}'")
            assert [row["n"] for row in await poller.poll(source)] == [number]
    assert poller.events[0]["time"] == "2001-02-03T04:05:06.789000Z"
    assert len({event["id"] for event in poller.events}) == 3


@pytest.mark.every_postgres
async def test_two_phase_commits_hold_the_horizon_back(own_postgres: Any, no_margin: None) -> None:
    dsn = own_postgres.dsn()
    async with connected(dsn) as upstream:
        await upstream.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    await asyncio.to_thread(own_postgres.restart)
    async with connected(dsn) as upstream, connected(dsn) as other:
        await upstream.execute(TIMED)
        poller = TablePoller(dsn)
        await upstream.execute("BEGIN; INSERT INTO orders (n) VALUES (1)")
        async with poller.opened() as source:
            await poller.poll(source)
            await upstream.execute("PREPARE TRANSACTION 'late'")
            for number in (2, 3):
                await other.execute("INSERT INTO orders (n) VALUES ($1)", number)
                assert [row["n"] for row in await poller.poll(source)] == [number]
            await other.execute("COMMIT PREPARED 'late'")
            assert [row["n"] for row in await poller.poll(source)] == [1]
            assert await poller.poll(source) == []


async def test_a_bulk_update_is_read_while_few_rows_are_remembered(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, no_margin: None
) -> None:
    await upstream.execute(TIMED + ";" + INDEX)
    await upstream.execute("INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 20000)")
    poller = TablePoller(database, updated_at_column="changed", early_limit=2000)
    async with poller.opened() as source:
        await poller.drain(source)
        holder = other.transaction()
        await holder.start()
        await other.execute("SELECT 1")
        await upstream.execute(BUMP)
        largest = 0
        while await poller.poll(source, limit=500):
            largest = max(largest, sum(map(len, poller.saved.values())))
        early = len(poller.events) - 20_000
        assert early == 2000, "only final rows are read while another transaction stays open"
        assert largest < 100_000
        await holder.commit()
        await poller.drain(source, limit=500)
        await poller.drain(source, limit=500)
    assert len(poller.events) == 40_000
    assert len({event["id"] for event in poller.events}) == 40_000
    assert sum(map(len, poller.saved.values())) < 1000


async def test_a_transaction_that_stays_open_is_reported_until_it_ends(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._STALL_TIMEOUT", 0.0)
    await upstream.execute(TIMED)
    poller = TablePoller(database, early_limit=100)
    async with poller.opened() as source:
        holder = other.transaction()
        await holder.start()
        await other.execute("SELECT nextval('orders_id_seq')")
        for _ in range(3):
            await upstream.execute("INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 100)")
            await poller.poll(source)
        assert len(poller.events) == 100
        assert "stays open" in poller.problems[0]
        await holder.commit()
        await poller.drain(source)
        await poller.drain(source)
    assert sorted(poller.ids) == list(range(2, 302))
    assert poller.problems == ()


async def test_the_statements_of_the_documentation_work(database: str, upstream: asyncpg.Connection) -> None:
    page = (Path(__file__).parents[8] / "docs" / "sources" / "tables.md").read_text()
    touch, outbox, notify, open_transactions = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    await upstream.execute("CREATE SCHEMA shop")
    await upstream.execute("CREATE TABLE shop.orders (id bigserial PRIMARY KEY, n int, updated_at timestamptz)")
    await upstream.execute(touch)
    await upstream.execute(outbox.partition("GRANT")[0])
    await upstream.execute(notify)
    poller = TablePoller(database, table="shop.orders", updated_at_column="updated_at", notify="trelay_orders")
    async with poller.opened() as source:
        await poller.poll(source)
        for statement in ("INSERT INTO shop.orders (n) VALUES (1)", "UPDATE shop.orders SET n = 2"):
            waiting = asyncio.ensure_future(source.wait_for_change())
            await asyncio.sleep(0)
            assert not waiting.done()
            await upstream.execute(statement)
            await asyncio.wait_for(waiting, 60)
            assert len(await poller.poll(source)) == 1
        async with upstream.transaction():
            assert upstream.get_server_pid() in [row["pid"] for row in await upstream.fetch(open_transactions)]
    assert [event["data"]["n"] for event in poller.events] == [1, 2]


@pytest.mark.every_postgres
async def test_transactions_that_cannot_write_rows_are_not_waited_for(
    database: str, upstream: asyncpg.Connection, databases: Databases, no_margin: None
) -> None:
    await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (1)")
    dumping = await asyncpg.connect(database, server_settings={"application_name": "pg_dump"})
    poller = TablePoller(database, updated_at_column="changed")
    async with (
        databases.fresh() as elsewhere,
        connected(elsewhere) as stranger,
        dumping.transaction(),
        stranger.transaction(),
        poller.opened() as source,
    ):
        await dumping.execute("SELECT 1")
        await stranger.execute("SELECT 1")
        await poller.poll(source)
        await poller.poll(source)
    assert set(poller.saved) == {""}, "nothing is above the horizon"
    await dumping.close()


async def test_infinity_is_a_time_like_any_other(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    await upstream.execute(
        "INSERT INTO orders (changed) VALUES ('infinity'), ('-infinity'), (now()), ('4713-01-01 BC')"
    )
    poller = TablePoller(database, updated_at_column="changed")
    for _ in range(3):
        async with poller.opened() as source:
            await poller.drain(source, limit=1)
    assert sorted(poller.ids) == [1, 2, 3, 4]


async def test_a_clock_that_was_set_back_is_reported(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    await upstream.execute("INSERT INTO orders (n, changed) VALUES (1, now() - interval '1 hour')")
    poller = TablePoller(database, updated_at_column="changed")
    async with poller.opened() as source:
        await poller.drain(source)
        assert not poller.problems
    # A test cannot set the clock back, so it moves the saved position forward.
    saved = json.loads(poller.saved[""])
    saved["position"][0] += 7200 * 1_000_000
    poller.saved[""] = json.dumps(saved).encode()
    async with poller.opened() as source:
        await poller.poll(source)
    [problem] = poller.problems
    assert re.match(r"the server's clock is 7\d{3} s behind the rows that were read", problem)


async def test_too_many_times_ahead_of_the_clock_are_reported(
    database: str, upstream: asyncpg.Connection, no_margin: None
) -> None:
    await upstream.execute(TIMED)
    await upstream.execute(
        "INSERT INTO orders (changed) SELECT now() + interval '2 hours' FROM generate_series(1, 150)"
    )
    poller = TablePoller(database, updated_at_column="changed", early_limit=100)
    async with poller.opened() as source:
        assert len(await poller.poll(source, 100)) == 100
        await upstream.execute("INSERT INTO orders (changed) VALUES (now())")
        assert len(await poller.poll(source)) == 1, "a row that is not ahead is read"
    [problem] = poller.problems
    assert problem.startswith("100 rows have times ahead of the server's clock")


async def test_after_a_statement_that_took_too_long_fewer_rows_are_read(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE kept (id bigserial PRIMARY KEY)")
    await upstream.execute("INSERT INTO kept SELECT FROM generate_series(1, 60)")
    await upstream.execute("""
        CREATE FUNCTION slow(bigint) RETURNS text STABLE LANGUAGE plpgsql
            AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN 'x'; END $$;
        CREATE VIEW orders AS SELECT id, slow(id) FROM kept;
    """)
    poller = TablePoller(database, poll_timeout=1.0)
    async with poller.opened() as source:
        with pytest.raises(Unavailable, match="statement timeout"):
            await poller.poll(source)
        for _ in range(20):
            with contextlib.suppress(Unavailable):
                await poller.poll(source)
    assert poller.ids == list(range(1, 61))
