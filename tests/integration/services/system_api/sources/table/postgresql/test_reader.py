"""Tables in PostgreSQL: which rows are final, which are read early, and which go to the dead letter."""

import asyncio
import json
import re
import secrets
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.table.table_poller import BUMP, INDEX, TIMED, TablePoller, connected
from tests.servers.databases import Databases
from tests.servers.postgres import Postgres


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


@pytest.mark.timeout(120)
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
        await other.execute("SELECT 1")
        for _ in range(3):
            await upstream.execute("INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 100)")
            await poller.poll(source)
        assert len(poller.events) == 100
        assert "stays open" in poller.problems[0]
        await holder.commit()
        await poller.drain(source)
        await poller.drain(source)
    assert sorted(poller.ids) == list(range(1, 301))
    assert poller.problems == ()


@pytest.mark.parametrize(
    ("nullable", "options"),
    [("id", {}), ("changed", {"updated_at_column": "changed"}), ("id", {"updated_at_column": "changed"})],
)
async def test_rows_without_a_key_go_to_the_dead_letter_once(
    database: str, upstream: asyncpg.Connection, nullable: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._NULL_KEY_INTERVAL", 0.0)
    monkeypatch.setattr("services.system_api.sources.table.source._NULL_KEY_SHARE", 0)
    await upstream.execute("CREATE TABLE orders (id bigint, n int, changed timestamptz DEFAULT now())")
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


async def test_rows_that_cannot_be_events_go_to_the_dead_letter(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, who text, note text)")
    await upstream.execute("INSERT INTO orders (who, note) VALUES ('a', ''), (NULL, ''), ('b', repeat('x', 2000))")
    poller = TablePoller(database, subject="who", row_limit=1000)
    async with poller.opened() as source:
        await poller.poll(source)
        await poller.poll(source)
    assert poller.ids == [1]
    assert poller.rejects == [
        ("orders:2", "orders, key 2: column 'who' is NULL"),
        ("orders:3", "orders, key 3: found a row of 2028 bytes, the limit is 1000"),
    ]


async def test_the_statements_of_the_documentation_work(database: str, upstream: asyncpg.Connection) -> None:
    page = (Path(__file__).parents[7] / "docs" / "upstream-owners.md").read_text()
    touch, notify, open_transactions = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    await upstream.execute("CREATE SCHEMA shop")
    await upstream.execute("CREATE TABLE shop.orders (id bigserial PRIMARY KEY, n int, updated_at timestamptz)")
    await upstream.execute(touch)
    await upstream.execute(notify)
    poller = TablePoller(database, table="shop.orders", updated_at_column="updated_at", notify="trelay_orders")
    async with poller.opened() as source:
        await poller.poll(source)
        for statement in ("INSERT INTO shop.orders (n) VALUES (1)", "UPDATE shop.orders SET n = 2"):
            waiting = asyncio.ensure_future(source.wait_for_change())
            await asyncio.sleep(0)
            assert not waiting.done()
            await upstream.execute(statement)
            await asyncio.wait_for(waiting, 10)
            assert len(await poller.poll(source)) == 1
        async with upstream.transaction():
            assert upstream.get_server_pid() in [row["pid"] for row in await upstream.fetch(open_transactions)]
    assert [event["data"]["n"] for event in poller.events] == [1, 2]


async def test_a_row_that_fails_the_statement_goes_to_the_dead_letter_alone(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE kept (id bigserial PRIMARY KEY, note text)")
    await upstream.execute(
        "INSERT INTO kept (note) SELECT CASE WHEN n % 50 = 7 THEN 'x' ELSE n::text END FROM generate_series(1, 250) n"
    )
    await upstream.execute("CREATE VIEW orders AS SELECT id, note::int AS n FROM kept")
    poller = TablePoller(database)
    async with poller.opened() as source:
        await poller.drain(source)
    assert poller.ids == [number for number in range(1, 251) if number % 50 != 7]
    assert [event["data"]["n"] for event in poller.events] == poller.ids
    assert len(poller.rejects) == 5
    assert poller.rejects[0] == ("orders:7", 'orders, key 7: invalid input syntax for type integer: "x"')


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


async def test_large_rows_are_read_in_small_batches(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 100_000)
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")
    await upstream.execute("INSERT INTO orders (note) SELECT repeat('x', 10000) FROM generate_series(1, 30)")
    poller = TablePoller(database)
    async with poller.opened() as source:
        assert [len(await poller.poll(source, 5)) for _ in range(2)] == [5, 5]
        assert [len(await poller.poll(source)) for _ in range(3)] == [9, 9, 2]


async def test_rows_larger_than_the_previous_ones_are_not_read_all_at_once(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 100_000)
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")
    await upstream.execute("INSERT INTO orders (note) SELECT repeat('x', 10000) FROM generate_series(1, 30)")
    poller = TablePoller(database)
    async with poller.opened() as source:
        first = await source.poll(1000)
        assert (len(first.records), first.more) == (10, True)
        poller.save(first)
        await poller.drain(source)
    assert poller.ids == list(range(1, 31))


async def test_of_a_row_that_is_too_large_only_the_beginning_leaves_the_database(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.source._MAX_BYTES", 1_000_000)
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")
    await upstream.execute("INSERT INTO orders (note) VALUES ('a'), (repeat('x', 50_000_000)), ('b')")
    poller = TablePoller(database)
    async with poller.opened() as source:
        batch = await source.poll(1000)
    assert len(batch.records) == 2, "it takes no space of the rows after it"
    [reject] = batch.rejects
    assert reject.error == "orders, key 2: found a row of 50000018 bytes, the limit is 1048576"
    assert reject.value == b'{"id":2,"note":"' + b"x" * (65536 - 16)


async def test_a_slow_search_for_rows_without_a_key_does_not_delay_other_rows(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("CREATE TABLE kept (id bigint, n bigserial)")
    await upstream.execute("INSERT INTO kept VALUES (1), (2); INSERT INTO kept SELECT NULL FROM generate_series(1, 9)")
    await upstream.execute("CREATE VIEW orders AS SELECT id, CASE WHEN id IS NULL THEN pg_sleep(1)::text END FROM kept")
    poller = TablePoller(database, poll_timeout=1.0)
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
    await upstream.execute("CREATE TABLE kept (id bigint, note text)")
    await upstream.execute("INSERT INTO kept VALUES (1, '1'), (NULL, 'x')")
    await upstream.execute("CREATE VIEW orders AS SELECT id, note::int AS n FROM kept")
    poller = TablePoller(database)
    async with poller.opened() as source:
        with pytest.raises(Unavailable):
            await poller.poll(source)
        assert len(await poller.poll(source)) == 1
    [problem] = poller.problems
    assert problem.endswith('invalid input syntax for type integer: "x"')


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


async def test_a_row_with_undecodable_text_is_rejected_alone(postgres: Postgres) -> None:
    name = f"ascii_{secrets.token_hex(4)}"
    async with connected(postgres.dsn("postgres")) as server:
        await server.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        try:
            async with connected(postgres.dsn(name)) as upstream:
                await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, who text)")
                await upstream.execute("INSERT INTO orders (who) VALUES ('a'), (E'\\xff'), ('c')")
            poller = TablePoller(postgres.dsn(name), subject="who")
            async with poller.opened() as source:
                await poller.drain(source)
        finally:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    assert poller.ids == [1, 3]
    assert poller.rejects == [("orders:2", 'orders, key 2: invalid byte sequence for encoding "UTF8": 0xff')]
