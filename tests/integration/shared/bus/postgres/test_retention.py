"""Expired records are deleted in order, by the holder of the lease, and readers get an error."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest

from shared.bus.postgres import PostgresBus, PostgresBusOptions, connect_postgres
from shared.bus.postgres.pools import Pools
from shared.bus.postgres.reader import PostgresReader
from shared.bus.postgres.retention import LEASE, RetentionCleaner
from shared.bus.protocol import Outgoing, TopicOptions, Transaction
from shared.database.options import DatabaseOptions
from shared.errors import PositionLost
from shared.lease import Leases, MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from tests.contracts.bus.records import TIMEOUT, everything, texts, visible, writing

_DAYS_AGO = "UPDATE trelay.bus_batches SET written_ms = written_ms - 8 * 86400000 WHERE last_offset < $1"


@pytest.fixture
async def cleaner(migrated_database: DatabaseOptions) -> AsyncIterator[RetentionCleaner]:
    async with Pools.opened(migrated_database, PostgresBusOptions()) as pools:
        yield RetentionCleaner(pools, Leases(MemoryLeaseStore(), "test"), 60.0, SYSTEM_CLOCK)


async def test_expired_records_are_deleted_and_no_others(
    bus: PostgresBus, line: str, sql: asyncpg.Connection, cleaner: RetentionCleaner
) -> None:
    async with bus.writer("w") as writer:
        for number in range(10):
            await writer.commit(writing(line, f"{number}.a", f"{number}.b"))
    assert await cleaner.delete_expired() == 0
    await sql.execute(_DAYS_AGO, 6)  # the first three transactions
    assert await cleaner.delete_expired() == 6
    assert await bus.bounds(line) == {0: (6, 20)}
    assert (await visible(bus, line))[0] == "3.a"
    assert await sql.fetchval("SELECT count(*) FROM trelay.bus_records") == 14
    async with bus.reader(line, {0: 5}) as reader:
        with pytest.raises(PositionLost) as raised:
            await reader.read()
    assert (raised.value.offset, raised.value.earliest) == (5, 6)


async def test_a_reader_behind_the_earliest_offset_gets_an_error(
    bus: PostgresBus, line: str, sql: asyncpg.Connection, cleaner: RetentionCleaner
) -> None:
    async with bus.writer("w") as writer, bus.reader(line, {0: 0}) as reader:
        for number in range(6):
            await writer.commit(writing(line, str(number)))
        assert texts(await reader.read(limit=1)) == ["0"]
        async with asyncio.timeout(TIMEOUT):
            while not cast("PostgresReader", reader)._fetched.records:  # what it has fetched ahead, it may return
                await asyncio.sleep(0.01)
        await sql.execute(_DAYS_AGO, 6)
        assert await cleaner.delete_expired() == 6
        assert texts(await reader.read(limit=1)) == ["1"]
        with pytest.raises(PositionLost) as raised:
            await reader.read()
        assert raised.value.earliest == 6


async def test_many_records_are_deleted_in_steps(
    bus: PostgresBus, topic: str, sql: asyncpg.Connection, cleaner: RetentionCleaner
) -> None:
    async with bus.writer("w") as writer:
        for number in range(5):
            await writer.commit(writing(topic, *(f"{number}.{part}" for part in range(3000))))
    await sql.execute(_DAYS_AGO, 10**9)
    assert await cleaner.delete_expired() == 15_000
    assert all(earliest == end for earliest, end in (await bus.bounds(topic)).values())
    assert await sql.fetchval("SELECT count(*) FROM trelay.bus_batches") == 0
    async with bus.writer("w") as writer:
        await writer.commit(writing(topic, "next"))
    assert await visible(bus, topic) == ["next"]


async def test_a_topic_without_retention_keeps_all_records(
    bus: PostgresBus, sql: asyncpg.Connection, cleaner: RetentionCleaner
) -> None:
    await bus.ensure_topics([TopicOptions(name="unlimited", partitions=1, retention_hours=None)])
    async with bus.writer("w") as writer:
        await writer.commit(writing("unlimited", "a"))
    await sql.execute("UPDATE trelay.bus_batches SET written_ms = 0")
    assert await cleaner.delete_expired() == 0
    assert await visible(bus, "unlimited") == ["a"]


async def test_a_tombstone_of_a_compacted_topic_is_deleted_in_time(
    bus: PostgresBus, kept: str, sql: asyncpg.Connection, cleaner: RetentionCleaner
) -> None:
    async with bus.writer("w") as writer:
        await writer.commit(Transaction({kept: [Outgoing(b"a", None), Outgoing(b"b", b"1")]}))
    await cleaner.delete_expired()
    assert len(await everything(bus, kept)) == 2
    await sql.execute("UPDATE trelay.bus_latest SET written_ms = written_ms - 25 * 3600000")
    await cleaner.delete_expired()
    assert [record.key for record in await everything(bus, kept)] == [b"b"]


async def test_a_connected_process_deletes_expired_records(
    migrated_database: DatabaseOptions, bus: PostgresBus, line: str, sql: asyncpg.Connection
) -> None:
    async with bus.writer("w") as writer:
        await writer.commit(writing(line, "a"))
    await sql.execute(_DAYS_AGO, 10)
    await sql.execute("UPDATE trelay.leases SET expires_at = clock_timestamp() WHERE name = $1", LEASE)
    async with (
        connect_postgres(PostgresBusOptions(retention_check_interval=0.1), migrated_database),
        asyncio.timeout(TIMEOUT),
    ):
        while await bus.bounds(line) != {0: (1, 1)}:
            await asyncio.sleep(0.05)


async def test_an_unexpected_error_does_not_end_retention(
    migrated_database: DatabaseOptions, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await sql.execute("ALTER FUNCTION trelay.bus_trim RENAME TO bus_trim_kept")
    await sql.execute("""
        CREATE FUNCTION trelay.bus_trim(int, bigint) RETURNS bigint LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'refused by the test'; END $$
    """)
    async with connect_postgres(PostgresBusOptions(retention_check_interval=0.05), migrated_database) as bus:
        await bus.ensure_topics([TopicOptions(name="line", partitions=1)])
        async with bus.writer("w") as writer:
            await writer.commit(writing("line", "a", "b"))
        await sql.execute(_DAYS_AGO, 2)
        async with asyncio.timeout(TIMEOUT):
            while "refused by the test" not in caplog.text:
                await asyncio.sleep(0.01)
            await sql.execute("DROP FUNCTION trelay.bus_trim")
            await sql.execute("ALTER FUNCTION trelay.bus_trim_kept RENAME TO bus_trim")
            while await bus.bounds("line") != {0: (2, 2)}:
                await asyncio.sleep(0.01)
