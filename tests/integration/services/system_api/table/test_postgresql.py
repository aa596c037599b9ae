"""Tables of a real PostgreSQL: what is final, what is read early, what stands in the way, and what is said of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.system_api.sources.table import postgresql
from shared.errors import SettingsError, Unauthorized, Unavailable
from tests.integration.services.system_api.table.reading import Reading, connected

TIMED = "CREATE TABLE orders (id bigserial PRIMARY KEY, n int, changed timestamptz NOT NULL DEFAULT now())"
INDEX = "CREATE INDEX ON orders (changed, id)"
END_THEIRS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trelay source orders'"
BUMP = "UPDATE orders SET n = n + 1, changed = now()"


@pytest.fixture
async def upstream(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with connected(database) as connection:
        yield connection


@pytest.fixture
async def other(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A second connection."""
    async with connected(database) as connection:
        yield connection


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "_MARGIN", 0)


async def test_values_and_names_come_as_they_are(database: str, upstream: asyncpg.Connection) -> None:
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
    reading = Reading(database, table='Shop.Order "s', key="Id")
    async with reading.opened() as source:
        (record,) = (await source.poll(10)).records
    assert record.value is not None
    assert b'"big":9007199254740993' in record.value
    assert b'"c":12345678901234567890.123456789' in record.value
    reading = Reading(database, table='Shop.Order "s', key="Id", columns=["t", "c", "raw"], subject="%b")
    async with reading.opened() as source:
        (data,) = await reading.poll(source)
    assert list(data) == ["t", "c", "raw"]
    assert data["t"] == 'Zoë "q" \\'
    assert data["raw"] == "\\x00ff"
    (event,) = reading.events
    assert (event["id"], event["subject"], event["source"]) == ("orders:1", "%s", "/sources/orders")


@pytest.mark.every_postgres
@pytest.mark.parametrize("changed", [None, "changed"])
async def test_a_row_that_commits_late_comes_late_and_once(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, changed: str | None, no_margin: None
) -> None:
    await upstream.execute(TIMED + ";" + INDEX)
    reading = Reading(database, changed=changed)
    late = upstream.transaction()
    await late.start()
    await upstream.execute("INSERT INTO orders (n) VALUES (1)")
    async with reading.opened() as source:
        await other.execute("INSERT INTO orders (n) VALUES (2)")
        assert [row["n"] for row in await reading.poll(source)] == [2]
        assert await reading.poll(source) == []
        await late.commit()
        assert [row["n"] for row in await reading.poll(source)] == [1]
        assert await reading.poll(source) == []
    async with reading.opened() as source:
        assert await reading.poll(source) == []
        await other.execute("INSERT INTO orders (n) VALUES (3)")
        assert [row["n"] for row in await reading.poll(source)] == [3]
    assert len({event["id"] for event in reading.events}) == 3


async def test_the_time_of_a_transaction_without_an_id_is_waited_for(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, no_margin: None
) -> None:
    await upstream.execute(TIMED)
    reading = Reading(database, changed="changed")
    late = upstream.transaction()
    await late.start()
    await upstream.execute("SELECT 1")
    async with reading.opened() as source:
        for number in range(3):
            await other.execute("INSERT INTO orders (n) VALUES ($1)", number)
            await reading.poll(source)
        await upstream.execute("INSERT INTO orders (n) VALUES (9)")
        await late.commit()
        assert [row["n"] for row in await reading.poll(source)] == [9]


async def test_both_of_two_updates_in_one_moment_are_seen(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    await upstream.execute("INSERT INTO orders (n, changed) VALUES (1, '2001-02-03 04:05:06.789+00')")
    reading = Reading(database, changed="changed", overlap=86_400)
    moment = "2999-01-01 00:00:00+00"
    async with reading.opened() as source:
        await reading.poll(source)
        for number in (2, 3):
            await upstream.execute(f"UPDATE orders SET n = {number}, changed = '{moment}'")
            assert [row["n"] for row in await reading.poll(source)] == [number]
    assert reading.events[0]["time"] == "2001-02-03T04:05:06.789000Z"
    assert len({event["id"] for event in reading.events}) == 3


@pytest.mark.parametrize("kind", ["view", "partitioned"])
@pytest.mark.every_postgres
async def test_views_and_partitioned_tables(
    database: str, upstream: asyncpg.Connection, kind: str, no_margin: None
) -> None:
    if kind == "view":
        await upstream.execute(TIMED.replace("orders", "kept") + "; CREATE VIEW orders AS SELECT * FROM kept")
    else:
        await upstream.execute("""
            CREATE TABLE orders (id bigserial PRIMARY KEY, n int, changed timestamptz NOT NULL DEFAULT now())
                PARTITION BY RANGE (id);
            CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (1) TO (3);
            CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (3) TO (1000);
        """)
    await upstream.execute(
        "INSERT INTO orders (n) SELECT 10 * g FROM generate_series(1, 5) g"
        if kind != "view"
        else "INSERT INTO kept (n) SELECT 10 * g FROM generate_series(1, 5) g"
    )
    # What is emitted above the horizon and then updated is another state of the row.
    holder = await asyncpg.connect(database)
    async with holder.transaction():
        await holder.execute("SELECT 1")
        reading = Reading(database, changed="changed")
        async with reading.opened() as source:
            assert len(await reading.drain(source, limit=2)) == 5
            await upstream.execute(BUMP)
            assert [row["n"] for row in await reading.drain(source, limit=2)] == [11, 21, 31, 41, 51]
    await holder.close()
    by_key = Reading(database)
    async with by_key.opened() as source:
        assert len(await by_key.drain(source, limit=2)) == 5
        assert await by_key.poll(source) == []


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("text", ["a", "B", "ä", "z 9"]),
        ("uuid", [f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)]),
        ("character(5)", ["a", "bb", "ccc", "ddddd"]),
        ("numeric(30, 2)", ["1.10", "2.20", "10.00", "300.00"]),
    ],
)
async def test_keys_of_other_types_under_a_time(
    database: str, upstream: asyncpg.Connection, type_: str, values: list[str], no_margin: None
) -> None:
    await upstream.execute(f"CREATE TABLE orders (id {type_} PRIMARY KEY, changed timestamptz NOT NULL DEFAULT now())")
    async with upstream.transaction():
        for value in values:
            await upstream.execute(f"INSERT INTO orders VALUES ('{value}')")
    reading = Reading(database, changed="changed")
    async with reading.opened() as source:
        await reading.drain(source, limit=1)
    assert sorted(event["subject"] for event in reading.events) == sorted(values)


@pytest.mark.every_postgres
async def test_two_phase_commits_hold_the_horizon_back(own_postgres: Any, no_margin: None) -> None:
    dsn = own_postgres.dsn()
    async with connected(dsn) as upstream:
        await upstream.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    await asyncio.to_thread(own_postgres.restart)
    async with connected(dsn) as upstream, connected(dsn) as other:
        await upstream.execute(TIMED)
        reading = Reading(dsn)
        await upstream.execute("BEGIN; INSERT INTO orders (n) VALUES (1)")
        async with reading.opened() as source:
            await reading.poll(source)
            await upstream.execute("PREPARE TRANSACTION 'late'")
            for number in (2, 3):
                await other.execute("INSERT INTO orders (n) VALUES ($1)", number)
                assert [row["n"] for row in await reading.poll(source)] == [number]
            await other.execute("COMMIT PREPARED 'late'")
            assert [row["n"] for row in await reading.poll(source)] == [1]
            assert await reading.poll(source) == []


@pytest.mark.timeout(120)
async def test_a_bulk_update_streams_through_and_what_is_remembered_stays_small(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, no_margin: None
) -> None:
    await upstream.execute(TIMED + ";" + INDEX)
    await upstream.execute("INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 20000)")
    reading = Reading(database, changed="changed", early_limit=2000)
    async with reading.opened() as source:
        await reading.drain(source)
        holder = other.transaction()
        await holder.start()
        await other.execute("SELECT 1")
        await upstream.execute(BUMP)
        largest = 0
        while await reading.poll(source, limit=500):
            largest = max(largest, sum(map(len, reading.saved.values())))
        early = len(reading.events) - 20_000
        assert early == 2000, "what is final is all that is read while somebody's transaction stays open"
        assert largest < 100_000
        await holder.commit()
        await reading.drain(source, limit=500)
        await reading.drain(source, limit=500)
    assert len(reading.events) == 40_000
    assert len({event["id"] for event in reading.events}) == 40_000
    assert sum(map(len, reading.saved.values())) < 1000


async def test_a_transaction_that_stays_open_is_told_and_ends_by_itself(
    database: str, upstream: asyncpg.Connection, other: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.table._STUCK", 0.0)
    await upstream.execute(TIMED)
    reading = Reading(database, early_limit=100)
    async with reading.opened() as source:
        holder = other.transaction()
        await holder.start()
        await other.execute("SELECT 1")
        for _ in range(3):
            await upstream.execute("INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 100)")
            await reading.poll(source)
        assert len(reading.events) == 100
        assert "stays open" in reading.trouble[0]
        await holder.commit()
        await reading.drain(source)
        await reading.drain(source)
    assert sorted(reading.ids) == list(range(1, 301))
    assert reading.trouble == ()


async def test_after_a_lost_connection_the_same_instance_goes_on(
    database: str, upstream: asyncpg.Connection, no_margin: None
) -> None:
    await upstream.execute(TIMED)
    reading = Reading(database, changed="changed")
    async with reading.opened() as source:
        for number in range(3):
            await upstream.execute("INSERT INTO orders (n) VALUES ($1)", number)
            await upstream.execute(END_THEIRS)
            with pytest.raises(Unavailable):
                await reading.poll(source)
            assert [row["n"] for row in await reading.poll(source)] == [number]


@pytest.mark.every_postgres
async def test_a_restarted_server_gives_the_ids_of_transactions_anew(own_postgres: Any, no_margin: None) -> None:
    dsn = own_postgres.dsn()
    reading = Reading(dsn)
    async with connected(dsn) as upstream:
        await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (1)")
    async with reading.opened() as source:
        await reading.poll(source)
        await asyncio.to_thread(own_postgres.restart)
        with pytest.raises(Unavailable):
            await reading.poll(source)
        async with connected(dsn) as upstream:
            await upstream.execute("INSERT INTO orders (n) VALUES (2)")
            assert [row["n"] for row in await reading.poll(source)] == [2]


@pytest.mark.parametrize(
    ("nullable", "options"),
    [("id", {}), ("changed", {"changed": "changed"}), ("id", {"changed": "changed"})],
)
async def test_rows_without_a_place_go_to_the_dead_letter_once(
    database: str, upstream: asyncpg.Connection, nullable: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.system_api.sources.table.table._KEYLESS_EVERY", 0.0)
    monkeypatch.setattr("services.system_api.sources.table.table._KEYLESS_SHARE", 0)
    await upstream.execute("CREATE TABLE orders (id bigint, n int, changed timestamptz DEFAULT now())")
    await upstream.execute(
        f"INSERT INTO orders (id, n) VALUES (1, 1), (2, 2); UPDATE orders SET {nullable} = NULL WHERE n = 2"
    )
    reading = Reading(database, **options)
    for _ in range(2):
        async with reading.opened() as source:
            await reading.poll(source)
            await reading.poll(source)
    assert reading.ids == [1]
    [(identity, error)] = reading.rejects
    assert identity.startswith("orders:keyless.")
    assert error == f"orders, a row without a place in the order: column '{nullable}' is NULL"
    async with reading.opened() as source:
        await upstream.execute("UPDATE orders SET n = 3 WHERE n = 2")
        await reading.poll(source)
        assert len(reading.rejects) == 2
        await upstream.execute("UPDATE orders SET id = 2, changed = now() WHERE n = 3")
        assert [row["n"] for row in await reading.poll(source)] == [3]


async def test_rows_that_cannot_be_events_go_to_the_dead_letter(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, who text, note text)")
    await upstream.execute("INSERT INTO orders (who, note) VALUES ('a', ''), (NULL, ''), ('b', repeat('x', 2000))")
    reading = Reading(database, subject="who", row_limit=1000)
    async with reading.opened() as source:
        await reading.poll(source)
        await reading.poll(source)
    assert reading.ids == [1]
    assert reading.rejects == [
        ("orders:2", "orders, key 2: column 'who' is NULL"),
        ("orders:3", "orders, key 3: a row of 2028 bytes, the limit is 1000"),
    ]


async def test_a_trigger_that_notifies_wakes_the_source(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    await upstream.execute("""
        CREATE FUNCTION trelay_orders() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NOTIFY trelay_orders; RETURN NULL; END $$;
        CREATE TRIGGER trelay AFTER INSERT OR UPDATE ON orders
            FOR EACH STATEMENT EXECUTE FUNCTION trelay_orders();
    """)
    reading = Reading(database, notify="trelay_orders")
    async with reading.opened() as source:
        await reading.poll(source)
        waiting = asyncio.ensure_future(source.changed())
        await asyncio.sleep(0)
        assert not waiting.done()
        await upstream.execute("INSERT INTO orders (n) VALUES (1)")
        await asyncio.wait_for(waiting, 5)
        assert [row["n"] for row in await reading.poll(source)] == [1]


async def test_large_rows_come_in_small_batches(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_MEMORY", 100_000)
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, note text)")
    await upstream.execute("INSERT INTO orders (note) SELECT repeat('x', 10000) FROM generate_series(1, 30)")
    reading = Reading(database)
    async with reading.opened() as source:
        assert [len(await reading.poll(source, 5)) for _ in range(2)] == [5, 5]
        assert [len(await reading.poll(source)) for _ in range(3)] == [9, 9, 2]


class TestWhatIsRefused:
    """Each names its setting."""

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"table": "shop.orders"}, "table: there is no table 'shop.orders', or the account may not see it"),
            ({"key": "idd"}, "key: table orders has no column 'idd'; it has id, n, changed; did you mean 'id'?"),
            ({"changed": "n"}, "changed: table orders: column 'n' is integer, expected timestamp or timestamptz"),
            ({"key": "changed"}, "key: table orders: column 'changed' is timestamp with time zone: give `changed`"),
            ({"subject": "who"}, "subject: table orders has no column 'who'"),
            ({"columns": ["id", "m"]}, "columns: table orders has no column 'm'"),
        ],
    )
    async def test_names(self, database: str, upstream: asyncpg.Connection, options: Any, said: str) -> None:
        await upstream.execute(TIMED)
        with pytest.raises(SettingsError) as caught:
            async with Reading(database, **options).opened():
                pass
        assert str(caught.value).startswith(f"system.sources.orders.{said}")

    async def test_an_unknown_zone(self, database: str, upstream: asyncpg.Connection) -> None:
        await upstream.execute("CREATE TABLE orders (id int PRIMARY KEY, changed timestamp)")
        with pytest.raises(SettingsError, match=r"orders\.time_zone: .*Mars"):
            async with Reading(database, changed="changed", time_zone="Mars").opened():
                pass

    @pytest.mark.parametrize("way", ["serial", "identity", "default"])
    async def test_keys_taken_ahead(self, database: str, upstream: asyncpg.Connection, way: str) -> None:
        sequence = "orders_id_seq"
        if way == "serial":
            await upstream.execute(TIMED + "; ALTER SEQUENCE orders_id_seq CACHE 20")
        elif way == "identity":
            await upstream.execute("CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY (CACHE 20) PRIMARY KEY)")
        else:
            sequence = "shared"
            await upstream.execute("CREATE SEQUENCE shared CACHE 20")
            await upstream.execute("CREATE TABLE orders (id int DEFAULT nextval('shared') PRIMARY KEY)")
        with pytest.raises(SettingsError, match=f"takes 20 keys ahead.*ALTER SEQUENCE {sequence} CACHE 1"):
            async with Reading(database).opened():
                pass

    @pytest.mark.parametrize("clause", ["INCREMENT -1", "CYCLE"])
    async def test_keys_that_shrink(self, database: str, upstream: asyncpg.Connection, clause: str) -> None:
        await upstream.execute(f"CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY ({clause}) PRIMARY KEY)")
        with pytest.raises(SettingsError, match="keys do not grow"):
            async with Reading(database).opened():
                pass

    async def test_materialized_views(self, database: str, upstream: asyncpg.Connection) -> None:
        await upstream.execute("CREATE MATERIALIZED VIEW orders AS SELECT 1 AS id, now() AS changed")
        for options in ({}, {"changed": "changed"}):
            with pytest.raises(SettingsError, match=r"a materialized view.*`overlap`"):
                async with Reading(database, **options).opened():
                    pass
        reading = Reading(database, changed="changed", overlap=60)
        async with reading.opened() as source:
            assert len(await reading.poll(source)) == 1

    async def test_another_column_under_the_same_checkpoint(self, database: str, upstream: asyncpg.Connection) -> None:
        await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (1)")
        reading = Reading(database)
        async with reading.opened() as source:
            await reading.poll(source)
        reading.options = reading.options.model_copy(update={"changed": "changed"})
        with pytest.raises(SettingsError, match="another name"):
            async with reading.opened():
                pass


async def test_an_account_that_may_read_the_table_alone(
    database: str, upstream: asyncpg.Connection, unique_name: str
) -> None:
    await upstream.execute(TIMED)
    await upstream.execute(f'CREATE ROLE "{unique_name}" LOGIN')
    try:
        reading = Reading(database.replace("//trelay@", f"//{unique_name}@"))
        async with reading.opened() as source:
            with pytest.raises(Unauthorized, match="permission denied for table orders"):
                await reading.poll(source)
            await upstream.execute(f'GRANT SELECT ON orders TO "{unique_name}"')
            late = upstream.transaction()
            await late.start()
            await upstream.execute("INSERT INTO orders (n) VALUES (1)")
            for number in (2, 3, 4):
                async with connected(database) as other:
                    await other.execute("INSERT INTO orders (n) VALUES ($1)", number)
                assert [row["n"] for row in await reading.poll(source)] == [number]
            await late.commit()
            assert [row["n"] for row in await reading.poll(source)] == [1]
            assert await reading.poll(source) == []
    finally:
        await upstream.execute(f'DROP OWNED BY "{unique_name}"; DROP ROLE "{unique_name}"')


async def test_a_sequence_that_begins_anew_is_told(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED + "; INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 5)")
    reading = Reading(database)
    async with reading.opened() as source:
        await reading.poll(source)
        assert list(reading.trouble) == []
        await upstream.execute("TRUNCATE orders RESTART IDENTITY; INSERT INTO orders (n) VALUES (1)")
        await reading.poll(source)
    assert "gone back" in reading.trouble[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DROP TABLE orders", "there is no table 'orders'"),
        ("ALTER TABLE orders RENAME id TO number", "no column 'id'; it has number"),
        ("ALTER TABLE orders ALTER changed TYPE timestamp", "the type of column 'changed' has changed to timestamp"),
    ],
)
async def test_a_table_that_is_not_what_it_was(
    database: str, upstream: asyncpg.Connection, change: str, said: str
) -> None:
    await upstream.execute(TIMED)
    reading = Reading(database, changed="changed")
    async with reading.opened() as source:
        await reading.poll(source)
        await upstream.execute(change)
        await upstream.execute(END_THEIRS)
        with pytest.raises(Unavailable):
            await reading.poll(source)
        with pytest.raises(SettingsError, match=said):
            await reading.poll(source)


async def test_a_table_that_goes_while_we_are_connected(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    reading = Reading(database)
    async with reading.opened() as source:
        await reading.poll(source)
        await upstream.execute("DROP TABLE orders")
        with pytest.raises(Unavailable, match=r"does not exist$"):
            await reading.poll(source)
        await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (7)")
        assert [row["n"] for row in await reading.poll(source)] == [7]


async def test_more_columns_change_nothing(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    reading = Reading(database)
    async with reading.opened() as source:
        for number in range(3):
            await upstream.execute(f"ALTER TABLE orders ADD c{number} int DEFAULT {number}")
            await upstream.execute("INSERT INTO orders (n) VALUES (1)")
            assert [row[f"c{number}"] for row in await reading.poll(source)] == [number]


async def test_unreachable_and_refused(database: str) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/"):
        async with Reading("postgresql://nobody@127.0.0.1:1/nothing").opened():
            pass
    server, _, _ = database.rpartition("/")
    with pytest.raises(Unavailable, match="no_such_database"):
        async with Reading(f"{server}/no_such_database").opened():
            pass
