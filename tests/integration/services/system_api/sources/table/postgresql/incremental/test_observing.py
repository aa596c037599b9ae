"""What holds rows back: open transactions, and clocks of other zones."""

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from services.system_api.sources.table.postgresql import bounds
from services.system_api.sources.table.postgresql.shape import Key, Shape
from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.table_poller import INDEX, TIMED, TablePoller, connected

LOCAL = "CREATE TABLE orders (id bigserial PRIMARY KEY, v int, changed timestamp NOT NULL {default})"


class TestIdleTransactions:
    """A forgotten `BEGIN; SELECT` in the same database."""

    @pytest.fixture
    async def idle(self, database: str) -> Any:
        async with connected(database) as connection, connection.transaction():
            await connection.execute("SELECT 1")
            yield connection

    @pytest.mark.every_postgres
    async def test_by_time_everything_older_is_read_and_remembered_by_the_position(
        self, database: str, upstream: asyncpg.Connection, idle: asyncpg.Connection
    ) -> None:
        await upstream.execute(TIMED + ";" + INDEX)
        await upstream.execute(
            "INSERT INTO orders (n, changed) SELECT g, now() - interval '30 days' + g * interval '1 second'"
            " FROM generate_series(1, 3000) g"
        )
        poller = TablePoller(database, updated_at_column="changed", early_limit=100)
        async with poller.opened() as source:
            await poller.drain(source)
            assert len(poller.events) == 3000
            assert set(poller.saved) == {""}
            assert (poller.problems, poller.waiting) == ((), ())

    @pytest.mark.every_postgres
    async def test_by_key_a_transaction_that_has_taken_no_key_is_not_waited_for(
        self, database: str, upstream: asyncpg.Connection, idle: asyncpg.Connection
    ) -> None:
        await upstream.execute(TIMED + "; INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 3000)")
        poller = TablePoller(database, early_limit=100)
        async with poller.opened() as source:
            await poller.drain(source)
            assert len(poller.events) == 3000
            assert set(poller.saved) == {""}
            await upstream.execute("INSERT INTO orders (n) VALUES (1)")
            await idle.execute("INSERT INTO orders (n) VALUES (2)")
            await upstream.execute("INSERT INTO orders (n) VALUES (3)")
            assert [row["n"] for row in await poller.drain(source)] == [1, 3]

    @pytest.mark.every_postgres
    async def test_by_key_a_transaction_that_has_taken_a_key_is_waited_for(
        self, database: str, upstream: asyncpg.Connection
    ) -> None:
        await upstream.execute(TIMED)
        async with connected(database) as late:
            transaction = late.transaction()
            await transaction.start()
            # A rolled-back savepoint keeps the lock, and the key that was taken may still be used.
            await late.execute("SAVEPOINT s; SELECT nextval('orders_id_seq'); ROLLBACK TO s")
            poller = TablePoller(database)
            async with poller.opened() as source:
                await upstream.execute("INSERT INTO orders (n) VALUES (2)")
                await poller.poll(source)
                await late.execute("INSERT INTO orders (id, n) VALUES (1, 1)")
                await upstream.execute("INSERT INTO orders (n) VALUES (3)")
                await poller.poll(source)
                await transaction.commit()
                assert [row["n"] for row in await poller.poll(source)] == [1]

    async def test_what_is_held_back_is_waiting_and_says_by_whom(
        self, database: str, upstream: asyncpg.Connection
    ) -> None:
        await upstream.execute(TIMED)
        async with connected(database) as holder, holder.transaction():
            await holder.execute("INSERT INTO orders (n) VALUES (0)")
            await upstream.execute("INSERT INTO orders (n) SELECT 0 FROM generate_series(1, 200)")
            poller = TablePoller(database, early_limit=100)
            async with poller.opened() as source:
                await poller.poll(source, 100)
                await poller.poll(source, 100)
                pid = holder.get_server_pid()
        assert len(poller.events) == 100
        assert poller.waiting == (
            (
                f"a transaction stays open (process {pid} of trelay), and early_limit (100) rows were read that may be"
                " followed by lower ones: only final rows are read until then"
            ),
        )

    async def test_an_account_that_may_not_see_when_others_began_waits_for_them(
        self, database: str, upstream: asyncpg.Connection, unique_name: str, idle: asyncpg.Connection
    ) -> None:
        await upstream.execute(TIMED)
        await upstream.execute(
            "INSERT INTO orders (n, changed) SELECT 0, now() - interval '1 day' FROM generate_series(1, 200)"
        )
        await upstream.execute(f'CREATE ROLE "{unique_name}" LOGIN; GRANT SELECT ON orders TO "{unique_name}"')
        try:
            poller = TablePoller(
                database.replace("//trelay@", f"//{unique_name}@"), updated_at_column="changed", early_limit=100
            )
            async with poller.opened() as source:
                await poller.drain(source, 100)
                assert len(poller.events) == 100
                await upstream.execute(f'GRANT pg_read_all_stats TO "{unique_name}"')
                await poller.drain(source, 100)
                await poller.drain(source, 100)
                assert len(poller.events) == 200
        finally:
            await upstream.execute(f'DROP OWNED BY "{unique_name}"; DROP ROLE "{unique_name}"')


class TestZones:
    """Times without a zone."""

    async def test_a_column_without_time_zone_needs_one(self, database: str, upstream: asyncpg.Connection) -> None:
        await upstream.execute(LOCAL.format(default="DEFAULT now()"))
        with pytest.raises(SettingsError) as caught:
            async with TablePoller(database, updated_at_column="changed").opened():
                pass
        assert str(caught.value).startswith(
            "system.sources.orders.time_zone: table orders: column 'changed' has no time zone; set `time_zone`"
        )

    @pytest.mark.parametrize("written", ["America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Etc/GMT+12"])
    async def test_rows_are_read_whatever_zone_they_are_written_in_and_a_wrong_setting_is_reported(
        self, database: str, upstream: asyncpg.Connection, written: str, no_margin: None
    ) -> None:
        await upstream.execute(LOCAL.format(default=f"DEFAULT (clock_timestamp() AT TIME ZONE '{written}')"))
        await upstream.execute("INSERT INTO orders (v) SELECT generate_series(1, 5)")
        poller = TablePoller(database, updated_at_column="changed", time_zone="UTC")
        async with poller.opened() as source:
            await poller.drain(source)
            for number in range(6, 11):
                await upstream.execute("INSERT INTO orders (v) VALUES ($1)", number)
                await poller.drain(source)
            await upstream.execute("UPDATE orders SET v = 7, changed = DEFAULT WHERE id = 1")
            assert [row["v"] for row in await poller.drain(source)] == [7]
        assert [event["data"]["v"] for event in poller.events] == [*range(1, 11), 7]
        [problem] = poller.problems
        offset = datetime.now(ZoneInfo(written)).utcoffset()
        assert offset is not None
        hours, minutes = divmod(abs(int(offset.total_seconds())) // 60, 60)
        side = "behind" if offset.total_seconds() < 0 else "ahead of"
        assert f"times {hours} h {minutes:02} min {side} those of `time_zone` (UTC)" in problem
        assert poller.waiting == ()

    async def test_the_right_zone_is_no_problem(
        self, database: str, upstream: asyncpg.Connection, no_margin: None
    ) -> None:
        await upstream.execute(LOCAL.format(default="DEFAULT (clock_timestamp() AT TIME ZONE 'America/New_York')"))
        poller = TablePoller(database, updated_at_column="changed", time_zone="America/New_York")
        async with poller.opened() as source:
            for number in range(8):
                await upstream.execute("INSERT INTO orders (v) VALUES ($1)", number)
                assert [row["v"] for row in await poller.drain(source)] == [number]
        assert poller.problems == ()
        spent = datetime.now(UTC) - datetime.fromisoformat(poller.events[-1]["time"])
        assert abs(spent.total_seconds()) < 60

    @pytest.mark.every_postgres
    async def test_in_the_repeated_hour_no_row_is_final_before_its_second_pass(
        self, upstream: asyncpg.Connection
    ) -> None:
        shape = Shape(
            "orders", '"orders"', (Key("id", "bigint"),), ("changed",), "timestamp", "Europe/Berlin", None, None, None,
            (), versioned=True,
        )  # fmt: skip
        moment = bounds.moment(shape, "$1::timestamptz")
        found = [
            (await upstream.fetchval(f"SELECT {moment}", datetime(2026, 10, 25, hour, minute, tzinfo=UTC))).isoformat()
            for hour, minute in [(0, 1), (0, 30), (0, 59), (1, 0), (1, 30)]
        ]
        assert found == [f"2026-10-25T02:{minute}:00" for minute in ("00", "00", "00", "00", "30")]


class TestAnotherTableOfTheName:
    """The identity of a table is not its name."""

    @pytest.mark.every_postgres
    async def test_after_a_swap_the_sequence_of_the_new_table_counts(
        self, database: str, upstream: asyncpg.Connection
    ) -> None:
        await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY, a int)")
        await upstream.execute("INSERT INTO orders (a) SELECT g FROM generate_series(1, 50) g")
        poller = TablePoller(database, early_limit=100)
        async with poller.opened() as source:
            await poller.drain(source)
            await upstream.execute("""
                BEGIN;
                CREATE TABLE k_new (id bigserial PRIMARY KEY, a int);
                INSERT INTO k_new SELECT * FROM orders; SELECT setval('k_new_id_seq', (SELECT max(id) FROM k_new));
                ALTER TABLE orders RENAME TO k_old; ALTER TABLE k_new RENAME TO orders;
                COMMIT;
            """)
            await upstream.execute("INSERT INTO orders (a) SELECT g FROM generate_series(51, 1250) g")
            await poller.drain(source)
            assert poller.ids == list(range(1, 1251))
            assert set(poller.saved) == {""}
            assert poller.problems == ()

    @pytest.mark.parametrize("late", [False, True])
    async def test_a_view_that_is_replaced_or_created_again(
        self, database: str, upstream: asyncpg.Connection, late: bool
    ) -> None:
        for name in ("one", "two"):
            await upstream.execute(f"CREATE TABLE {name} (id bigserial PRIMARY KEY, a int)")
        await upstream.execute("INSERT INTO one (a) VALUES (1), (1); SELECT setval('two_id_seq', 100)")
        await upstream.execute("CREATE VIEW orders AS SELECT * FROM one")
        poller = TablePoller(database)
        async with poller.opened() as source:
            await poller.drain(source)
            if late:
                await upstream.execute("DROP VIEW orders; CREATE VIEW orders AS SELECT id, a FROM two")
            else:
                await upstream.execute("CREATE OR REPLACE VIEW orders AS SELECT id, a FROM two")
            async with connected(database) as other, other.transaction():
                await other.execute("SELECT nextval('two_id_seq')")
                await upstream.execute("INSERT INTO two (a) VALUES (2)")
                assert [row["id"] for row in await poller.drain(source)] == [102]
                await other.execute("INSERT INTO two (id, a) VALUES (101, 3)")
            assert [row["id"] for row in await poller.drain(source)] == [101]

    async def test_a_partitioned_table_takes_the_place_of_a_plain_one(
        self, database: str, upstream: asyncpg.Connection
    ) -> None:
        await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (1)")
        poller = TablePoller(database, updated_at_column="changed")
        async with poller.opened() as source:
            await poller.drain(source)
            await upstream.execute("""
                BEGIN;
                ALTER TABLE orders RENAME TO old;
                CREATE TABLE orders (id bigint PRIMARY KEY, n int, changed timestamptz NOT NULL DEFAULT now())
                    PARTITION BY RANGE (id);
                CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (1) TO (1000);
                COMMIT;
                INSERT INTO orders (id, n) VALUES (2, 2);
            """)
            assert [row["n"] for row in await poller.drain(source)] == [2]

    async def test_a_column_of_another_type_is_an_error_and_a_wider_key_is_none(
        self, database: str, upstream: asyncpg.Connection
    ) -> None:
        await upstream.execute("CREATE TABLE orders (id serial PRIMARY KEY, changed timestamptz DEFAULT now())")
        by_key = TablePoller(database)
        by_time = TablePoller(database, updated_at_column="changed", time_zone="UTC")
        async with by_key.opened() as keys, by_time.opened() as times:
            await by_key.drain(keys)
            await by_time.drain(times)
            # Neither rewrites the table, nor changes the name or the oid of anything.
            await upstream.execute("SET TimeZone = 'UTC'; ALTER TABLE orders ALTER changed TYPE timestamp")
            await upstream.execute("ALTER TABLE orders ALTER id TYPE bigint; INSERT INTO orders DEFAULT VALUES")
            assert [row["id"] for row in await by_key.drain(keys)] == [1]
            with pytest.raises(SettingsError, match="the type of column 'changed' has changed to timestamp"):
                await by_time.drain(times)

    async def test_keys_above_the_sequence_are_no_open_transaction(
        self, database: str, upstream: asyncpg.Connection
    ) -> None:
        await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY)")
        await upstream.execute("INSERT INTO orders SELECT g FROM generate_series(1001, 1200) g")
        poller = TablePoller(database, early_limit=100)
        async with poller.opened() as source:
            await poller.poll(source, 100)
            await poller.poll(source, 100)
            assert re.match(
                r"100 rows have keys that the sequence has not given yet \(its next value is 1\)", poller.problems[0]
            )
            await upstream.execute("SELECT setval('orders_id_seq', 1200)")
            await poller.drain(source)
            await poller.drain(source)
        assert poller.ids == list(range(1001, 1201))


async def test_a_default_around_the_sequence_is_no_sequence(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE SEQUENCE s")
    for default in ("nextval('s') * 100 + 7", "(extract(epoch FROM now())::bigint << 20) + nextval('s') % 1024"):
        await upstream.execute(
            f"DROP TABLE IF EXISTS orders; CREATE TABLE orders (id bigint DEFAULT {default} PRIMARY KEY)"
        )
        with pytest.raises(SettingsError, match="no sequence is known"):
            async with TablePoller(database).opened():
                pass
    await upstream.execute('DROP TABLE orders; CREATE SEQUENCE "it\'s ) (one"')
    await upstream.execute("CREATE TABLE orders (id int DEFAULT nextval('\"it''s ) (one\"') PRIMARY KEY)")
    await upstream.execute("INSERT INTO orders DEFAULT VALUES")
    poller = TablePoller(database)
    async with poller.opened() as source:
        assert await poller.drain(source) == [{"id": 1}]
