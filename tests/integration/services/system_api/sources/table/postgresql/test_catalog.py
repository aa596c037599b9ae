"""Which tables can be read exactly; for any other the error names the setting."""

from typing import Any

import asyncpg
import pytest

from shared.errors import SettingsError, Unauthorized
from tests.integration.services.system_api.sources.table.table_poller import BUMP, TIMED, TablePoller, connected


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
    # A row that is emitted above the horizon and then updated has another state.
    holder = await asyncpg.connect(database)
    async with holder.transaction():
        await holder.execute("SELECT 1")
        poller = TablePoller(database, updated_at_column="changed")
        async with poller.opened() as source:
            assert len(await poller.drain(source, limit=2)) == 5
            await upstream.execute(BUMP)
            assert [row["n"] for row in await poller.drain(source, limit=2)] == [11, 21, 31, 41, 51]
    await holder.close()
    by_key = TablePoller(database)
    async with by_key.opened() as source:
        assert len(await by_key.drain(source, limit=2)) == 5
        assert await by_key.poll(source) == []


async def test_a_view_with_a_condition_is_not_read_by_key(database: str, upstream: asyncpg.Connection) -> None:
    """A row that fulfils it later would be below those that were read, and never be published."""
    await upstream.execute("CREATE TABLE kept (id bigserial PRIMARY KEY, paid boolean)")
    await upstream.execute("CREATE VIEW orders AS SELECT * FROM kept WHERE paid; CREATE VIEW shown AS TABLE orders")
    for table in ("orders", "shown"):
        with pytest.raises(SettingsError, match=f"key: {table} is a view with a condition: .*mode: diff"):
            async with TablePoller(database, table=table).opened():
                pass
        async with TablePoller(database, table=table, overlap=1).opened(), TablePoller(database, mode="diff").opened():
            pass


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("text", ["a", "B", "ä", "z 9"]),
        ("uuid", [f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)]),
        ("character(5)", ["a", "bb", "ccc", "ddddd"]),
        ("numeric(30, 2)", ["1.10", "2.20", "10.00", "300.00"]),
    ],
)
async def test_keys_of_other_types_ordered_by_time(
    database: str, upstream: asyncpg.Connection, type_: str, values: list[str], no_margin: None
) -> None:
    await upstream.execute(f"CREATE TABLE orders (id {type_} PRIMARY KEY, changed timestamptz NOT NULL DEFAULT now())")
    async with upstream.transaction():
        for value in values:
            await upstream.execute(f"INSERT INTO orders VALUES ('{value}')")
    poller = TablePoller(database, updated_at_column="changed")
    async with poller.opened() as source:
        await poller.drain(source, limit=1)
    assert sorted(event["subject"] for event in poller.events) == sorted(values)


class TestRefused:
    """The error names the setting."""

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"table": "shop.orders"}, "table: there is no table 'shop.orders', or the account may not see it"),
            ({"key": "idd"}, "key: table orders has no column 'idd'; it has id, n, changed; did you mean 'id'?"),
            (
                {"updated_at_column": "n"},
                "time_unit: table orders: column 'n' is integer; set what it counts since 1970: seconds",
            ),
            (
                {"key": "changed"},
                "key: table orders: column 'changed' is timestamp with time zone; set `updated_at_column`",
            ),
            ({"subject": "who"}, "subject: table orders has no column 'who'"),
            ({"columns": ["id", "m"]}, "columns: table orders has no column 'm'"),
        ],
    )
    async def test_names(self, database: str, upstream: asyncpg.Connection, options: Any, error: str) -> None:
        await upstream.execute(TIMED)
        with pytest.raises(SettingsError) as caught:
            async with TablePoller(database, **options).opened():
                pass
        assert str(caught.value).startswith(f"system.sources.orders.{error}")

    async def test_an_unknown_zone(self, database: str, upstream: asyncpg.Connection) -> None:
        await upstream.execute("CREATE TABLE orders (id int PRIMARY KEY, changed timestamp)")
        with pytest.raises(SettingsError, match=r"orders\.time_zone: .*Mars"):
            async with TablePoller(database, updated_at_column="changed", time_zone="Mars").opened():
                pass

    @pytest.mark.parametrize("way", ["serial", "identity", "default"])
    async def test_cached_keys(self, database: str, upstream: asyncpg.Connection, way: str) -> None:
        sequence = "orders_id_seq"
        if way == "serial":
            await upstream.execute(TIMED + "; ALTER SEQUENCE orders_id_seq CACHE 20")
        elif way == "identity":
            await upstream.execute("CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY (CACHE 20) PRIMARY KEY)")
        else:
            sequence = "shared"
            await upstream.execute("CREATE SEQUENCE shared CACHE 20")
            await upstream.execute("CREATE TABLE orders (id int DEFAULT nextval('shared') PRIMARY KEY)")
        with pytest.raises(SettingsError, match=f"caches 20 keys.*ALTER SEQUENCE {sequence} CACHE 1"):
            async with TablePoller(database).opened():
                pass

    @pytest.mark.parametrize("clause", ["INCREMENT -1", "INCREMENT 50", "CYCLE"])
    async def test_keys_that_do_not_grow_one_by_one(
        self, database: str, upstream: asyncpg.Connection, clause: str
    ) -> None:
        await upstream.execute(f"CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY ({clause}) PRIMARY KEY)")
        with pytest.raises(SettingsError, match="keys do not grow"):
            async with TablePoller(database).opened():
                pass

    async def test_materialized_views(self, database: str, upstream: asyncpg.Connection) -> None:
        await upstream.execute("CREATE MATERIALIZED VIEW orders AS SELECT 1 AS id, now() AS changed")
        for options in ({}, {"updated_at_column": "changed"}):
            with pytest.raises(SettingsError, match=r"a materialized view.*`overlap`"):
                async with TablePoller(database, **options).opened():
                    pass
        poller = TablePoller(database, updated_at_column="changed", overlap=60)
        async with poller.opened() as source:
            assert len(await poller.poll(source)) == 1

    async def test_another_column_under_the_same_checkpoint(self, database: str, upstream: asyncpg.Connection) -> None:
        await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (1)")
        poller = TablePoller(database)
        async with poller.opened() as source:
            await poller.poll(source)
        poller.options = poller.options.model_copy(update={"updated_at_column": "changed"})
        with pytest.raises(SettingsError, match="another name"):
            async with poller.opened():
                pass


async def test_an_account_with_select_on_the_table_only(
    database: str, upstream: asyncpg.Connection, unique_name: str
) -> None:
    await upstream.execute(TIMED)
    await upstream.execute(f'CREATE ROLE "{unique_name}" LOGIN')
    try:
        poller = TablePoller(database.replace("//trelay@", f"//{unique_name}@"))
        async with poller.opened() as source:
            with pytest.raises(Unauthorized, match="permission denied for table orders"):
                await poller.poll(source)
            await upstream.execute(f'GRANT SELECT ON orders TO "{unique_name}"')
            late = upstream.transaction()
            await late.start()
            await upstream.execute("INSERT INTO orders (n) VALUES (1)")
            for number in (2, 3, 4):
                async with connected(database) as other:
                    await other.execute("INSERT INTO orders (n) VALUES ($1)", number)
                assert [row["n"] for row in await poller.poll(source)] == [number]
            await late.commit()
            assert [row["n"] for row in await poller.poll(source)] == [1]
            assert await poller.poll(source) == []
    finally:
        await upstream.execute(f'DROP OWNED BY "{unique_name}"; DROP ROLE "{unique_name}"')


async def test_a_sequence_that_is_set_back_is_reported(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED + "; INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 5)")
    poller = TablePoller(database)
    async with poller.opened() as source:
        await poller.poll(source)
        assert list(poller.problems) == []
        await upstream.execute("TRUNCATE orders RESTART IDENTITY; INSERT INTO orders (n) VALUES (1)")
        await poller.poll(source)
    assert "set back" in poller.problems[0]
