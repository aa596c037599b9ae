"""A session is opened again after any failure."""

import asyncio
from typing import Any

import asyncpg
import pytest

from shared.errors import Unavailable
from tests.integration.services.system_api.sources.table.postgresql.test_connection import TERMINATE
from tests.integration.services.system_api.sources.table.table_poller import TIMED, TablePoller, connected


async def test_after_a_lost_connection_the_same_instance_resumes(
    database: str, upstream: asyncpg.Connection, no_margin: None
) -> None:
    await upstream.execute(TIMED)
    poller = TablePoller(database, updated_at_column="changed")
    async with poller.opened() as source:
        for number in range(3):
            await upstream.execute("INSERT INTO orders (n) VALUES ($1)", number)
            await upstream.execute(TERMINATE)
            with pytest.raises(Unavailable):
                await poller.poll(source)
            assert [row["n"] for row in await poller.poll(source)] == [number]


@pytest.mark.every_postgres
async def test_transaction_ids_start_again_when_the_server_restarts(own_postgres: Any, no_margin: None) -> None:
    dsn = own_postgres.dsn()
    poller = TablePoller(dsn)
    async with connected(dsn) as upstream:
        await upstream.execute(TIMED + "; INSERT INTO orders (n) VALUES (1)")
    async with poller.opened() as source:
        await poller.poll(source)
        await asyncio.to_thread(own_postgres.restart)
        with pytest.raises(Unavailable):
            await poller.poll(source)
        async with connected(dsn) as upstream:
            await upstream.execute("INSERT INTO orders (n) VALUES (2)")
            assert [row["n"] for row in await poller.poll(source)] == [2]
