"""Clients that stop at the worst moment: others wait a bounded time, and their successor knows what was committed."""

import asyncio
import time

import asyncpg
import pytest

from shared.bus.postgres import PostgresBus
from shared.bus.postgres.open_transaction import OpenTransaction, Owner
from shared.bus.postgres.options import PostgresBusOptions
from shared.bus.postgres.plan import Plan
from shared.bus.postgres.pools import Pools
from shared.database.options import DatabaseOptions
from shared.errors import Fenced
from tests.contracts.bus.records import TIMEOUT, visible, writing

_CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'trelay bus writing'
"""
_COMMIT = """
SELECT set_config('idle_in_transaction_session_timeout', '3000', true),
       trelay.bus_commit($1, $2, $3, $4, $5, $6, '{}', '{}', '{}', '{}', null, '{}', '{}')
"""


async def test_a_client_that_stops_before_its_commit_is_closed_in_time(
    bus: PostgresBus, line: str, sql: asyncpg.Connection
) -> None:
    """As with SIGSTOP between bus_commit and COMMIT: the server closes its connection, and the others continue."""
    partition = (await bus._topics.get(line)).partitions[0]
    await sql.execute("INSERT INTO trelay.bus_writers (name, epoch) VALUES ('stopped', 1)")
    await sql.execute("BEGIN")
    await sql.execute("INSERT INTO trelay.bus_records (tx, n, key, value) VALUES (0, 0, 'k', 'never')")
    await sql.execute(_COMMIT, "stopped", 1, 0, [partition], [1], [6])
    began = time.monotonic()
    async with bus.writer("stopped") as successor, bus.writer("other") as other:
        assert await visible(bus, line) == []
        await asyncio.gather(successor.commit(writing(line, "a")), other.commit(writing(line, "b")))
    assert time.monotonic() - began < 60
    assert sorted(await visible(bus, line)) == ["a", "b"]
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await sql.execute("COMMIT")


async def test_a_client_that_stops_while_it_stores_delays_no_other(
    bus: PostgresBus, line: str, migrated_database: DatabaseOptions
) -> None:
    async with Pools.opened(migrated_database, PostgresBusOptions()) as pools, bus.writer("storing") as older:
        await older.commit(writing(line, "before"))
        partition = (await bus._topics.get(line)).partitions[0]
        rows: list[tuple[bytes, bytes | None, bytes | None]] = [(b"k", b"v" * 1000, None)] * 200
        planned = Plan(rows=rows, size=200_000, partitions=[partition], records=[200], sizes=[200_000])

        async def stop_while_storing() -> None:
            async with OpenTransaction.prepared(pools, planned, Owner("storing", 1)) as transaction:
                async with asyncio.timeout(60), bus.writer("storing") as successor:
                    await successor.commit(writing(line, "after"))
                await transaction.commit()

        with pytest.raises(Fenced, match="writer storing"):
            await stop_while_storing()
    assert await visible(bus, line) == ["before", "after"]


async def test_a_writer_that_lost_its_connection_has_failed_and_its_successor_continues(
    bus: PostgresBus, line: str, sql: asyncpg.Connection
) -> None:
    async with bus.writer("cut") as writer:
        done = await writer.submit(writing(line, *(str(number) for number in range(2000))))
        while not await sql.fetchval(_CUT):
            await asyncio.sleep(0)
        await asyncio.wait({asyncio.ensure_future(done)}, timeout=TIMEOUT)
    async with bus.writer("cut") as writer:
        found = await visible(bus, line)
        assert len(found) in {0, 2000}
        await writer.commit(writing(line, "on"))
    assert await visible(bus, line) == [*found, "on"]
