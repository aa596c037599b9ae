"""A server with another history than the one that was read: from a backup, or a standby that was behind."""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.errors import SettingsError, Unavailable
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    TABLE,
    poller_of,
    settled,
)
from tests.integration.services.system_api.sources.table.table_poller import TablePoller, connected
from tests.servers.postgres import postgres_server

OTHER = "CREATE TABLE other (t text)"
FILL = "INSERT INTO other SELECT repeat('x', 1000) FROM generate_series(1, 2000)"
"""So that the log of the new history is longer than that of the old one."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server(settings={"wal_level": "logical"}) as server:
        yield server


async def run(server: PostgresServer, *statements: str) -> None:
    async with connected(server.dsn()) as connection:
        for statement in statements:
            await connection.execute(statement)


@contextlib.asynccontextmanager
async def taken_back(server: PostgresServer) -> AsyncIterator[None]:
    """Take the server back to where it is now, with its slots, as a snapshot of its disk does."""
    async with connected(server.dsn()) as connection:
        data = Path(await connection.fetchval("SHOW data_directory"))
    saved = data.with_name("saved")
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(subprocess.check_call, ["cp", "-a", data, saved])
    await asyncio.to_thread(server.start)
    yield
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(shutil.rmtree, data)
    saved.rename(data)
    await asyncio.to_thread(server.start)


async def publishing(server: PostgresServer) -> TablePoller:
    """Return a poller that has published a row."""
    await run(server, TABLE, OTHER)
    poller = poller_of(server.dsn())
    await settled(poller)
    await run(server, "INSERT INTO orders VALUES (1, 'a')")
    await settled(poller)
    return poller


async def test_a_history_that_lacks_what_was_published_is_an_error(server: PostgresServer) -> None:
    """However far the log of the new history has come meanwhile."""
    poller = await publishing(server)
    async with taken_back(server):
        await run(server, "INSERT INTO orders VALUES (2, 'b')")
        await settled(poller)
    await run(server, "INSERT INTO orders VALUES (3, 'c')", FILL, "INSERT INTO orders VALUES (4, 'd')")
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"lacks transaction \d+, whose changes were published"):
            await settled(poller)
    poller.saved.clear()
    await settled(poller)
    assert set(poller.ids[2:]) == {1, 3, 4}, "a rewind to the beginning is a new snapshot"


async def test_changes_of_another_history_below_the_place_are_published(server: PostgresServer) -> None:
    """Where the server lacks only what is of no matter here."""
    poller = await publishing(server)
    async with taken_back(server):
        await run(server, FILL)
        await settled(poller)
    await run(server, "INSERT INTO orders VALUES (3, 'c')", FILL, FILL, "INSERT INTO orders VALUES (4, 'd')")
    await settled(poller)
    assert poller.ids == [1, 3, 4]


async def test_a_source_that_runs_while_the_server_is_taken_back(server: PostgresServer) -> None:
    poller = await publishing(server)
    async with poller.opened() as source:
        async with taken_back(server):
            await run(server, "INSERT INTO orders VALUES (2, 'b')")
            with pytest.raises(Unavailable):
                await source.poll(10)  # the server has restarted
            batch = await source.poll(10)
            poller.save(batch)
            await source.settle(batch)  # type: ignore[attr-defined]
            await source.poll(10)
        await run(server, "INSERT INTO orders VALUES (3, 'c')", FILL)
        with pytest.raises(Unavailable):
            await source.poll(10)
        for _ in range(2):
            with pytest.raises(SettingsError, match="lacks transaction"):
                await source.poll(10)
    assert poller.ids == [1, 2]
