"""Rows of a table counted by time, and compared with what is published of them."""

import random
from datetime import UTC, datetime

import asyncpg
import pytest

from services.system_api.operations.reconciling import reconcile
from services.system_api.sources.capabilities import Countable
from services.system_api.sources.table.opening import table_source
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Transaction
from shared.bus.topics import TopicsOptions
from shared.errors import Malformed
from shared.runtime.clock import SYSTEM_CLOCK
from tests.integration.services.system_api.sources.table.table_poller import INDEX, TIMED, TablePoller

TOPICS = TopicsOptions(partitions=2)
DAY = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 5)]


async def counted(poller: TablePoller, since: datetime, until: datetime) -> int:
    async with poller.opened() as source:
        assert isinstance(source, Countable)
        return await source.count(since, until)


async def test_rows_are_counted_by_the_time_of_their_last_change(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED + ";" + INDEX)
    await upstream.executemany(
        "INSERT INTO orders (n, changed) VALUES ($1, $2)", [(1, DAY[0]), (2, DAY[1]), (3, DAY[1]), (4, DAY[2])]
    )
    poller = TablePoller(database, updated_at_column="changed")
    assert await counted(poller, DAY[0], DAY[1]) == 1
    assert await counted(poller, DAY[1], DAY[2]) == 2
    assert await counted(poller, DAY[0], DAY[3]) == 4


async def test_times_without_a_zone_are_of_the_zone_of_the_settings(
    database: str, upstream: asyncpg.Connection
) -> None:
    await upstream.execute("""
        CREATE TABLE orders (id bigserial PRIMARY KEY, changed timestamp NOT NULL);
        CREATE INDEX ON orders (changed, id);
        INSERT INTO orders (changed) VALUES ('2026-01-02 08:59:59.999999'), ('2026-01-02 09:00');
    """)
    poller = TablePoller(database, updated_at_column="changed", time_zone="Asia/Tokyo")
    assert await counted(poller, DAY[0], DAY[1]) == 1, "nine hours ahead of UTC"
    assert await counted(poller, DAY[1], DAY[2]) == 1


async def test_rows_by_key_have_no_time_to_count_by(database: str, upstream: asyncpg.Connection) -> None:
    await upstream.execute(TIMED)
    with pytest.raises(Malformed, match="without updated_at_column"):
        await counted(TablePoller(database), DAY[0], DAY[1])


async def test_what_is_upstream_is_compared_with_what_is_published(database: str, upstream: asyncpg.Connection) -> None:
    """Rows that changed again within the range and after it, that were deleted, and that were never published."""
    await upstream.execute(TIMED + ";" + INDEX)
    poller, bus = TablePoller(database, updated_at_column="changed"), MemoryBus()
    await bus.ensure_topics(TOPICS.all())

    async def now() -> datetime:
        time: datetime = await upstream.fetchval("SELECT clock_timestamp()")
        return time

    async def publish() -> None:
        async with poller.opened() as source, bus.writer("w") as writer:
            batch = await source.poll(100)
            poller.save(batch)
            transaction = Transaction()
            transaction.records[TOPICS.ingest] = batch.records
            await writer.commit(transaction)

    async def compared(since: datetime, until: datetime) -> tuple[int, int, int]:
        opener = table_source("orders", poller.options, SYSTEM_CLOCK, random.Random(1))
        found = await reconcile(bus, TOPICS.ingest, "orders", (opener, poller.saved), since, until)
        assert found["complete"]
        return found["upstream"], found["published"], found["events"]

    begin = await now()
    await upstream.execute("INSERT INTO orders (n) SELECT * FROM generate_series(1, 10)")
    await publish()
    first = await now()
    assert await compared(begin, first) == (10, 10, 10)
    await upstream.execute("UPDATE orders SET changed = now() WHERE n = 1")
    await publish()
    second = await now()
    assert await compared(begin, second) == (10, 10, 11), "changed again within the range"
    assert await compared(begin, first) == (9, 9, 10), "changed again after the range"
    await upstream.execute("DELETE FROM orders WHERE n = 3")
    assert await compared(begin, second) == (9, 10, 11), "deleted"
    await upstream.execute("INSERT INTO orders (n) VALUES (11), (12)")
    assert await compared(second, await now()) == (2, 0, 0), "not published"
