"""Leases while their server is restarted, paused or stopped."""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.lease import Leases, PostgresLeaseStore

TIMEOUT = 60.0
IN_TIME = 60.0
"""Seconds on a busy machine; it takes 1.3, and 120 if it waited for an answer of the server."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def options(own_postgres: PostgresServer) -> DatabaseOptions:
    options = DatabaseOptions(url=own_postgres.dsn(), statement_timeout=2 * IN_TIME)
    await migrate(options)
    return options


async def test_a_restart_of_the_server_costs_no_lease(own_postgres: PostgresServer, options: DatabaseOptions) -> None:
    async with PostgresLeaseStore.opened(options) as store, Leases(store, "a", ttl=15).hold("s") as lease:
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(own_postgres.start)
        before = lease.remaining
        await until(lambda: lease.remaining > before)
        assert lease.held


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_lease_is_lost_in_time_if_the_server_does_not_come_back(
    own_postgres: PostgresServer, options: DatabaseOptions, how: signal.Signals
) -> None:
    async with PostgresLeaseStore.opened(options) as store:
        async with Leases(store, "a", ttl=1.5).hold("s") as lease:
            server = psutil.Process(own_postgres.pid)
            processes = [server, *server.children()]
            for process in processes:
                process.send_signal(how)
            began = time.monotonic()
            await asyncio.wait_for(lease.lost(), TIMEOUT)
            assert time.monotonic() - began < IN_TIME
        # Leaving does not wait for a server that does not answer.
        assert time.monotonic() - began < IN_TIME
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


async def test_a_released_lease_moves_at_once_between_replicas(options: DatabaseOptions) -> None:
    async with PostgresLeaseStore.opened(options) as left, PostgresLeaseStore.opened(options) as right:

        async def take() -> int:
            async with Leases(right, "b", ttl=60).hold("s") as lease:
                return lease.epoch

        async with Leases(left, "a", ttl=60).hold("s") as lease:
            waiting_for = asyncio.create_task(take())
            await until(lambda: bool(right._watchers._events))
            await asyncio.sleep(0.2)  # let it try once, and its listener connect
        assert await asyncio.wait_for(waiting_for, TIMEOUT) > lease.epoch
