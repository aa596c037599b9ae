"""A slot, a publication or a table that cannot keep the promise."""

from typing import Any

import asyncpg
import msgspec
import pytest

from services.system_api.sources.table.postgresql.replication import source as source_module
from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    TABLE,
    poller_of,
    settled,
)
from tests.integration.services.system_api.sources.table.table_poller import TablePoller


async def test_the_slot_moves_only_over_what_is_published_and_its_lag_is_watched(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute(TABLE)
    poller = poller_of(logical_database, slot_lag_limit=1_048_576)
    await settled(poller)
    await log.execute("CREATE TABLE other (t text)")
    confirmed = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1"
    before = await log.fetchval(confirmed, poller.options.slot)
    async with poller.opened() as source:
        await log.execute("INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 3000)")
        await log.execute("INSERT INTO orders VALUES (1, 'a')")
        batch = await source.poll(10)
        poller.save(batch)
        assert batch.slot_lag is not None
        assert batch.slot_lag > 3_000_000
        assert "more than slot_lag_limit (1048576)" in batch.problems[0]
        while (await source.poll(10)).more:
            pass
        await source.poll(10)
        assert await log.fetchval(confirmed, poller.options.slot) == before, "nothing is settled"
        await source.settle(batch)  # type: ignore[attr-defined]
        await source.poll(10)
        assert await log.fetchval(confirmed, poller.options.slot) > before
    assert poller.ids == [1]
    await settled(poller)
    assert poller.ids == [1]


_SLOW = """
    CREATE SCHEMA slow;
    CREATE FUNCTION slow.pg_replication_slot_advance(slot name, place pg_lsn) RETURNS pg_lsn LANGUAGE plpgsql AS
        $$BEGIN PERFORM pg_sleep(3); RETURN (pg_catalog.pg_replication_slot_advance(slot, place)).end_lsn; END$$
"""


async def test_a_slot_that_moves_for_longer_than_a_statement_may(
    logical_database: str, log: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over the log of days."""
    monkeypatch.setattr(source_module, "_PATIENCE", 0.5)
    await log.execute(f"{TABLE}; {_SLOW}")
    database = await log.fetchval("SELECT current_database()")
    poller = poller_of(logical_database, poll_timeout=2)
    await settled(poller)
    await log.execute(f"ALTER DATABASE {database} SET search_path = slow, pg_catalog, public")
    await log.execute("INSERT INTO orders VALUES (1, 'a')")
    confirmed = "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = $1"
    before = await log.fetchval(confirmed, poller.options.slot)
    waiting = 0
    async with poller.opened() as source:
        for _ in range(20):
            batch = await source.poll(10)
            poller.save(batch)
            await source.settle(batch)  # type: ignore[attr-defined]
            waiting += len(batch.waiting)
            if await log.fetchval(confirmed, poller.options.slot) > before:
                break
        else:
            pytest.fail("the slot was not moved")
        assert waiting > 2
        await log.execute("INSERT INTO orders VALUES (2, 'b')")
        await poller.drain(source)
    assert poller.ids == [1, 2]


async def test_log_that_is_missing_is_an_error_and_is_never_skipped(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute(TABLE)
    poller = poller_of(logical_database)
    await settled(poller)
    slot = poller.options.slot
    await log.execute("INSERT INTO orders VALUES (1, 'a')")
    await log.execute("SELECT pg_drop_replication_slot($1)", slot)
    with pytest.raises(SettingsError, match=r"there is no slot.*the changes since then are missing"):
        await settled(poller)
    await log.execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
    with pytest.raises(SettingsError, match="bytes of log behind the place of the checkpoint"):
        await settled(poller)
    poller.saved.clear()
    await settled(poller)
    assert poller.ids == [1], "a rewind to the beginning is a new snapshot"
    poller.saved[""] = poller.saved[""].replace(b'"system":"', b'"system":"1')
    with pytest.raises(SettingsError, match="another server or database"):
        await settled(poller)


async def test_a_slot_that_is_created_again_between_two_polls_is_an_error(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute(TABLE)
    poller = poller_of(logical_database)
    slot = poller.options.slot
    await settled(poller)
    async with poller.opened() as source:
        await source.poll(10)
        await log.execute("INSERT INTO orders VALUES (1, 'a')")
        await log.execute("SELECT pg_drop_replication_slot($1)", slot)
        await log.execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)
        with pytest.raises(SettingsError, match="bytes of log behind the place of the checkpoint"):
            await source.poll(10)


async def test_a_server_that_lacks_what_was_published_is_an_error(
    logical_database: str, log: asyncpg.Connection
) -> None:
    """As after a failover to a standby that was behind: what is written there has lower places in the log."""
    await log.execute(TABLE)
    poller = poller_of(logical_database)
    await settled(poller)
    saved = msgspec.json.decode(poller.saved[""])
    ahead = saved | {"lsn": saved["lsn"] + 2**30}
    poller.saved[""] = msgspec.json.encode(ahead)
    await log.execute("INSERT INTO orders VALUES (1, 'a')")
    with pytest.raises(SettingsError, match="bytes before the place of the checkpoint: the server lacks transactions"):
        await settled(poller)
    poller.saved.clear()
    await settled(poller)
    assert poller.ids == [1], "a rewind to the beginning is a new snapshot"


@pytest.mark.parametrize(
    ("prepare", "options", "error"),
    [
        ("SELECT 1", {"create_slot": False}, "publication: there is no publication .* CREATE PUBLICATION"),
        ("ALTER TABLE orders REPLICA IDENTITY NOTHING", {}, "key: .* is not in the replica identity"),
        ("SELECT 1", {"subject": "v"}, "subject: table .*'v' is not in the replica identity"),
        ("ALTER TABLE orders SET UNLOGGED", {}, "is not a table whose changes are in the log"),
        ("CREATE PUBLICATION p", {"publication": "p"}, "'p' does not have table .*ALTER PUBLICATION"),
        (
            "CREATE PUBLICATION p FOR TABLE orders WITH (publish = 'insert')",
            {"publication": "p"},
            "'p' leaves out changes: ALTER PUBLICATION",
        ),
    ],
)
async def test_what_cannot_be_promised_is_refused(
    logical_database: str, log: asyncpg.Connection, prepare: str, options: dict[str, Any], error: str
) -> None:
    await log.execute(f"{TABLE}; {prepare}")
    with pytest.raises(SettingsError, match=error):
        await settled(TablePoller(logical_database, **({"mode": "replication", "create_slot": True} | options)))


async def test_a_server_without_logical_replication_is_refused(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TABLE)
    with pytest.raises(SettingsError, match="set wal_level = logical"):
        await settled(poller_of(database))
