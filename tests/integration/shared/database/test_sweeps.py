"""What is deleted after its time is found by an index, however much there is that stays."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.experience_api.registry.statements import USE_TICKET
from shared.bus.postgres.retention import _DELETE_TOMBSTONES
from shared.database.options import DatabaseOptions

_TICKETS = """
INSERT INTO trelay.used_tickets (ticket_hash, used_at)
SELECT sha256(number::text::bytea), now() - number * interval '1 second' FROM generate_series(1, $1) AS number
"""
_KEYS = """
INSERT INTO trelay.bus_latest (partition_id, key, record_offset, value, written_ms)
SELECT 1, number::text::bytea, number, CASE WHEN number % 1000 > 0 THEN 'x'::bytea END, number
FROM generate_series(1, $1) AS number
"""

_LATER = 4e9
"""Seconds since 1970 at which no ticket has expired yet."""


@pytest.fixture
async def sql(migrated_database: DatabaseOptions) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated_database.url)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("fill", "sweep", "arguments", "index"),
    [
        (_TICKETS, USE_TICKET, (b"ticket", _LATER), "used_tickets_used_at_idx"),
        (_KEYS, _DELETE_TOMBSTONES, (0,), "bus_latest_written_ms_idx"),
    ],
)
async def test_a_sweep_reads_no_whole_table(
    sql: asyncpg.Connection, fill: str, sweep: str, arguments: tuple[object, ...], index: str
) -> None:
    await sql.execute(fill, 20_000)
    await sql.execute("ANALYZE trelay.used_tickets, trelay.bus_latest")
    plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {sweep}", *arguments))
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan


async def test_each_use_of_a_ticket_deletes_some_that_have_expired_and_waits_for_none(
    sql: asyncpg.Connection, migrated_database: DatabaseOptions
) -> None:
    await sql.execute(_TICKETS, 600)
    await sql.execute("UPDATE trelay.used_tickets SET used_at = now()")
    await sql.execute(_TICKETS.replace("generate_series(1, $1)", "generate_series(1001, 1000 + $1)"), 150)
    other = await asyncpg.connect(migrated_database.url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM trelay.used_tickets ORDER BY used_at LIMIT 1 FOR UPDATE")
            left = []
            for number in range(3):
                async with asyncio.timeout(60):
                    assert await sql.fetchval(USE_TICKET, b"ticket %d" % number, _LATER) is not None
                left.append(await sql.fetchval("SELECT count(*) FROM trelay.used_tickets"))
            assert left == [651, 603, 604]
        assert await sql.fetchval(USE_TICKET, b"one more", _LATER) is not None
        assert await sql.fetchval("SELECT count(*) FROM trelay.used_tickets") == 604
    finally:
        await other.close()
