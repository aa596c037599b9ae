"""A table that is read on a replica of MariaDB, which may be behind its primary."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncmy
import pytest

from tests.integration.services.system_api.sources.table.table_poller import TablePoller
from tests.servers.mariadb import MariaDb, mariadb_server
from tests.servers.missing import skipping_without

OVERLAP = 1.0


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest) -> Iterator[tuple[MariaDb, MariaDb]]:
    """A primary and its replica."""
    with (
        skipping_without("MariaDB", request.config),
        mariadb_server("--log-bin=primary", "--server-id=1") as primary,
        mariadb_server("--server-id=2", "--read-only=1") as replica,
    ):
        yield primary, replica


@contextlib.asynccontextmanager
async def connected(server: MariaDb) -> AsyncIterator[Any]:
    """A function that runs a statement and returns its rows."""
    connection = await asyncmy.connect(host="127.0.0.1", port=server.port, user="trelay", autocommit=True)

    async def run(statement: str) -> list[Any]:
        async with connection.cursor() as cursor:
            await cursor.execute(statement)
            return list(await cursor.fetchall()) if cursor.description else []

    try:
        yield run
    finally:
        await connection.ensure_closed()


async def until(run: Any, statement: str, expected: int) -> None:
    async with asyncio.timeout(60):
        while (await run(statement))[0][0] != expected:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("by", [{"updated_at_column": "changed", "time_zone": "UTC"}, {}])
async def test_a_row_that_is_replicated_late_is_read(
    servers: tuple[MariaDb, MariaDb], by: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replication stops between the commits of two rows for longer than the overlap; the later was written first."""
    monkeypatch.setattr("services.system_api.sources.table.mysql.reader._MARGIN", 0)
    primary, replica = servers
    async with connected(primary) as write, connected(primary) as late, connected(replica) as read:
        ((log, place, *_),) = await write("SHOW MASTER STATUS")
        await read("STOP ALL SLAVES")
        await read(
            f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {primary.port}, master_user = 'trelay',"
            f" master_password = '', master_log_file = '{log}', master_log_pos = {place}, master_use_gtid = no"
        )
        await read("START SLAVE")
        name = f"shop_{len(by)}"
        await write(f"CREATE DATABASE {name}")
        await write(
            f"CREATE TABLE {name}.orders (id bigint AUTO_INCREMENT PRIMARY KEY,"
            " changed datetime(6) DEFAULT utc_timestamp(6), KEY (changed, id))"
        )
        await until(read, f"SELECT count(*) FROM information_schema.tables WHERE table_schema = '{name}'", 1)
        await late("START TRANSACTION")
        await late(f"INSERT INTO {name}.orders (changed) VALUES (DEFAULT)")
        await write(f"INSERT INTO {name}.orders (changed) VALUES (DEFAULT)")
        await until(read, f"SELECT count(*) FROM {name}.orders", 1)
        poller = TablePoller(replica.url(name), overlap=OVERLAP, **by)
        async with poller.opened() as source:
            await poller.drain(source)
            await read("STOP SLAVE SQL_THREAD")
            await late("COMMIT")
            async with asyncio.timeout(60):
                until_then = asyncio.get_running_loop().time() + 2 * OVERLAP
                while asyncio.get_running_loop().time() < until_then:
                    await poller.drain(source)
                    await asyncio.sleep(0.1)
            assert any("replication of this server does not run" in each for each in poller.problems)
            assert poller.ids == [2]
            await read("START SLAVE SQL_THREAD")
            await until(read, f"SELECT count(*) FROM {name}.orders", 2)
            await poller.drain(source)
            assert poller.ids == [2, 1]
            await poller.drain(source)
            assert poller.problems == ()


async def test_an_account_that_may_not_see_the_lag_reads_with_an_overlap(
    servers: tuple[MariaDb, MariaDb], caplog: pytest.LogCaptureFixture
) -> None:
    _, replica = servers
    async with connected(replica) as run:
        await run("STOP ALL SLAVES")
        await run("CREATE DATABASE own")
        await run("CREATE TABLE own.orders (id bigint AUTO_INCREMENT PRIMARY KEY)")
        await run("CREATE USER reader@'127.0.0.1'")
        await run("GRANT SELECT ON own.* TO reader@'127.0.0.1'")
        await run("INSERT INTO own.orders VALUES (1), (2)")
    poller = TablePoller(replica.url("own", "reader"), overlap=OVERLAP)
    async with poller.opened() as source:
        for _ in range(3):
            await poller.drain(source)
    assert (poller.ids, poller.problems) == ([1, 2], ())
    assert caplog.messages.count("cannot see how far the replica lags; overlap must be longer") == 1
