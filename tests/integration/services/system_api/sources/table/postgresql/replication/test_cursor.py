"""Messages of a slot in portions, from the middle of a transaction as well."""

import asyncpg
import pytest

from services.system_api.sources.table.postgresql.replication import cursor
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    TABLE,
    poller_of,
    settled,
)


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
