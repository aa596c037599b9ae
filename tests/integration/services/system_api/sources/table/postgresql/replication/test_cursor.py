"""Messages of a slot in portions, from the middle of a transaction as well."""

import asyncio
import contextlib

import asyncpg
import pytest

from services.system_api.sources.source import Batch
from services.system_api.sources.table.postgresql.replication import cursor
from services.system_api.sources.table.postgresql.replication import source as source_module
from shared.bus.protocol import IN_FLIGHT
from shared.errors import Unavailable
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    TABLE,
    poller_of,
    settled,
)
from tests.integration.services.system_api.sources.table.table_poller import connected
from tests.servers.postgres import postgres_server


async def test_a_large_transaction_is_read_in_portions_and_after_a_crash_from_its_middle(
    logical_database: str, log: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cursor, "_PORTION", 100)
    monkeypatch.setattr(cursor, "_CHANGES", 10)
    await log.execute(TABLE)
    poller = poller_of(logical_database)
    await settled(poller)
    async with log.transaction():
        await log.execute("INSERT INTO orders SELECT g, 'x' FROM generate_series(1, 1000) g")
        await log.execute("INSERT INTO orders SELECT g, repeat('y', 100000) FROM generate_series(1001, 1010) g")
        await log.execute("INSERT INTO orders SELECT g, 'z' FROM generate_series(1011, 1100) g")
    for _ in range(4):
        async with poller.opened() as source:
            for _ in range(2):
                poller.save(await source.poll(70))
    await settled(poller, 130)
    assert poller.ids == list(range(1, 1101))
    assert {len(event["data"]["v"]) for event in poller.events[1000:1010]} == {100_000}


@pytest.mark.parametrize("settles", [True, False])
async def test_more_changes_than_the_server_decodes_at_once(
    logical_database: str, log: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, settles: bool
) -> None:
    """Of this table, and of others whose changes are in the same publication."""
    monkeypatch.setattr(cursor, "_CHANGES", 10)
    await log.execute(f"{TABLE}; CREATE TABLE other (id int PRIMARY KEY)")
    await log.execute("CREATE PUBLICATION p FOR TABLE orders, other")
    poller = poller_of(logical_database, publication="p")
    await settled(poller)
    for number in range(0, 64, 8):
        await log.execute(f"INSERT INTO orders SELECT g, 'x' FROM generate_series({number + 1}, {number + 8}) g")
        await log.execute(f"INSERT INTO other SELECT g FROM generate_series({number + 1}, {number + 8}) g")
        await log.execute(f"INSERT INTO other SELECT 100 + g FROM generate_series({number + 1}, {number + 8}) g")
    async with poller.opened() as source:
        unsettled: list[Batch] = []
        more = True
        while more:
            batch = await source.poll(5)
            poller.save(batch)
            more = batch.more
            unsettled += [batch] if settles and batch else []
            if len(unsettled) > IN_FLIGHT:
                await source.settle(unsettled.pop(0))  # type: ignore[attr-defined]
    await settled(poller)
    assert poller.ids == list(range(1, 65))


@pytest.mark.parametrize("limit", [3, 1000])
async def test_large_rows_among_the_last_ones_of_the_log(
    logical_database: str, log: asyncpg.Connection, limit: int
) -> None:
    await log.execute(TABLE)
    poller = poller_of(logical_database)
    await settled(poller)
    sizes = [1, 2, 20_000, 3, 30_000, *range(40_000, 40_020), 4, 50_000, 5]
    async with log.transaction():
        for number, size in enumerate(sizes):
            await log.execute("INSERT INTO orders VALUES ($1, $2)", number, "x" * size)
    await settled(poller, limit)
    assert [len(event["data"]["v"]) for event in poller.events] == sizes


_SLOW = """
    CREATE SCHEMA slow;
    CREATE FUNCTION slow.pg_logical_slot_peek_binary_changes(slot name, upto pg_lsn, most int, VARIADIC options text[])
        RETURNS TABLE (lsn pg_lsn, xid xid, data bytea) LANGUAGE plpgsql AS $$BEGIN
            PERFORM pg_sleep(300);
            RETURN;
        END$$;
    ALTER DATABASE trelay SET search_path = slow, pg_catalog, public
"""


async def test_a_server_that_is_gone_while_it_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes no connection, as where its machine has lost its network."""
    monkeypatch.setattr(source_module, "_PATIENCE", 0.2)
    with postgres_server(settings={"wal_level": "logical"}) as server:
        async with connected(server.dsn()) as log:
            await log.execute(TABLE)
            poller = poller_of(server.dsn(), poll_timeout=2)
            await settled(poller)
            await log.execute(f"INSERT INTO orders VALUES (1, 'a'); {_SLOW}")
        async with poller.opened() as source:
            batch = await source.poll(10)
            assert batch.waiting == ("the server decodes a large part of its log",)
            await asyncio.to_thread(server.pause)
            with pytest.raises(Unavailable):
                await source.poll(10)
            await asyncio.to_thread(server.resume)
            async with connected(server.dsn()) as log:
                await log.execute("DROP SCHEMA slow CASCADE")
            while not poller.events:
                with contextlib.suppress(Unavailable):  # the slot is in use until the server notices
                    poller.save(await source.poll(10))
    assert poller.ids == [1]


async def test_a_server_that_is_killed_while_it_is_read() -> None:
    """The position of the slot is not durable, and goes back: the checkpoint decides what is published."""
    with postgres_server(settings={"wal_level": "logical"}, durable=True) as server:
        async with connected(server.dsn()) as log:
            await log.execute(f"{TABLE}; INSERT INTO orders SELECT g, 'a' FROM generate_series(1, 20) g")
        poller = poller_of(server.dsn())
        for number in range(3):
            async with connected(server.dsn()) as log:
                await log.execute(f"INSERT INTO orders SELECT {number}000 + g, 'b' FROM generate_series(100, 140) g")
            async with poller.opened() as source:
                for _ in range(8):
                    batch = await source.poll(7)
                    poller.save(batch)
                    await source.settle(batch)  # type: ignore[attr-defined]
                await asyncio.to_thread(server.kill)
                with pytest.raises(Unavailable):
                    await source.poll(7)
                await asyncio.to_thread(server.start)
        await settled(poller)
    assert sorted(poller.ids) == sorted([*range(1, 21), *(n * 1000 + g for n in range(3) for g in range(100, 141))])
