"""A session: whatever the settings of server and account are, a value has the same text."""

import asyncio
import dataclasses

import asyncpg
import pytest

from shared.errors import SettingsError, Unavailable
from tests.integration.services.system_api.sources.table.table_poller import TIMED, TablePoller
from tests.servers.missing import skipping_without
from tests.servers.pgbouncer import pgbouncer

HOSTILE = {
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Tokyo",
    "extra_float_digits": "-10",
    "bytea_output": "escape",
    "xmlbinary": "hex",
    "xmloption": "document",
    "array_nulls": "off",
    "lc_monetary": "C.UTF-8",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "gin_fuzzy_search_limit": "1",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "serializable",
    "row_security": "off",
}
VALUES = """
    CREATE TABLE orders (id bigserial PRIMARY KEY, d date, i interval, f float8, r real, b bytea, m money, c regclass,
                         t timestamptz, l timestamp, x text, a timestamptz[]);
    INSERT INTO orders (d, i, f, r, b, m, c, t, l, x, a) VALUES (
        '2026-02-01', '1 year 2 days 03:04:05', 0.1::float8 + 0.2, 0.1, '\\x00ff', 12.5, 'pg_class',
        '2026-02-01 03:04:05.678901+00', '2026-02-01 03:04:05',
        'it''s \\ "q"', ARRAY['2026-02-01 00:00+00'::timestamptz]
    );
"""


@pytest.mark.every_postgres
async def test_values_do_not_depend_on_the_settings_of_the_server(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(VALUES)
    found = []
    for settings in ({}, HOSTILE):
        _, _, name = database.rpartition("/")
        for setting, value in settings.items():
            await upstream.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
        poller = TablePoller(database, key="id", subject="d")
        async with poller.opened() as source:
            await poller.poll(source)
            await poller.poll(source)
        found.append([(event["data"], event["subject"]) for event in poller.events])
    assert found[0] == found[1]
    ((row, subject),) = found[0]
    assert subject == "2026-02-01"
    assert row == {
        "id": 1,
        "d": "2026-02-01",
        "i": "1 year 2 days 03:04:05",
        "f": 0.30000000000000004,
        "r": 0.1,
        "b": "\\x00ff",
        "m": "$12.50",
        "c": "pg_class",
        "t": "2026-02-01T03:04:05.678901+00:00",
        "l": "2026-02-01T03:04:05",
        "x": 'it\'s \\ "q"',
        "a": ["2026-02-01T00:00:00+00:00"],
    }


async def test_nothing_can_be_written(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id bigserial PRIMARY KEY)")
    async with TablePoller(database).opened() as source:
        connection = source._reader._keeper.current.connection  # type: ignore[attr-defined]
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("INSERT INTO orders DEFAULT VALUES")


async def test_an_unknown_zone_is_an_error_of_the_settings(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute("CREATE TABLE orders (id int PRIMARY KEY, changed timestamp)")
    with pytest.raises(SettingsError, match=r"orders\.time_zone: .*Mars"):
        async with TablePoller(database, updated_at_column="changed", time_zone="Mars").opened():
            pass


@pytest.mark.parametrize("options", [{}, {"updated_at_column": "changed"}])
async def test_through_a_pooler_in_session_mode(
    request: pytest.FixtureRequest, database: str, upstream: asyncpg.Connection, options: dict[str, str]
) -> None:
    await upstream.execute(TIMED)
    with skipping_without("PgBouncer", request.config), pgbouncer("session", database) as pooled:
        poller = TablePoller(pooled, notify="news", **options)
        async with poller.opened() as source:
            for number in range(3):
                await upstream.execute("INSERT INTO orders (n) VALUES ($1); ", number)
                assert [row["n"] for row in await poller.poll(source)] == [number]
            await upstream.execute("NOTIFY news")
            await asyncio.wait_for(source.wait_for_change(), 60)
            connection = source._reader._keeper.current.connection  # type: ignore[attr-defined]
            assert await connection.fetchval("SELECT current_setting('default_transaction_read_only')") == "on"


async def test_through_a_pooler_in_transaction_mode(
    request: pytest.FixtureRequest, database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute(TIMED)
    with (
        skipping_without("PgBouncer", request.config),
        pgbouncer("transaction", database) as pooled,
        pytest.raises(Unavailable, match="found a pooler in transaction mode; connect directly, or through"),
    ):
        async with TablePoller(pooled).opened():
            pass


async def test_another_server_process_is_an_error_that_names_the_pooler(
    database: str, upstream: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(database)
    async with poller.opened() as source:
        keeper = source._reader._keeper  # type: ignore[attr-defined]
        keeper.current = dataclasses.replace(keeper.current, pid=1)
        with pytest.raises(Unavailable, match="another server process answers than before"):
            await poller.poll(source)
        await upstream.execute("INSERT INTO orders (n) VALUES (1)")
        assert len(await poller.poll(source)) == 1
