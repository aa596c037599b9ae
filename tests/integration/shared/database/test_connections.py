import asyncio
import time

import asyncpg
import psutil
import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.database.connections import Connections
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable


async def backend(connections: Connections) -> int:
    """Return the process that serves the next use."""
    async with connections.use() as connection:
        pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        return pid


async def test_a_connection_is_kept_for_the_next_use(database: str) -> None:
    async with Connections.opened(DatabaseOptions(url=database), size=2, purpose="test") as connections:
        assert await backend(connections) == await backend(connections)


async def test_no_more_than_the_given_number_are_open(database: str) -> None:
    async with Connections.opened(DatabaseOptions(url=database), size=2, purpose="test") as connections:
        assert len(set(await asyncio.gather(*(backend(connections) for _ in range(20))))) <= 2


async def test_a_statement_has_a_name_and_a_time_limit_and_costs_no_connection(database: str) -> None:
    options = DatabaseOptions(url=database, statement_timeout=0.1)
    async with Connections.opened(options, size=1, purpose="test") as connections:
        before = await backend(connections)
        async with connections.use() as connection:
            assert await connection.fetchval("SHOW application_name") == "trelay test"
        with pytest.raises(Unavailable, match="statement timeout"):
            async with connections.use() as connection:
                await connection.execute("SELECT pg_sleep(30)")
        assert await backend(connections) == before


async def test_what_the_server_refuses_leaves_the_session_usable(database: str) -> None:
    async with Connections.opened(DatabaseOptions(url=database), size=1, purpose="test") as connections:
        before = await backend(connections)
        with pytest.raises(asyncpg.PostgresSyntaxError):
            async with connections.use() as connection, connection.transaction():
                await connection.execute("SELEKT")
        assert await backend(connections) == before


async def test_an_interrupted_statement_costs_its_connection_and_no_time(database: str) -> None:
    async with Connections.opened(DatabaseOptions(url=database), size=1, purpose="test") as connections:
        before = await backend(connections)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), connections.use() as connection:
                await connection.execute("SELECT pg_sleep(30)")
        assert await backend(connections) != before
        assert time.monotonic() - began < 15  # half of what the statement would take


async def test_a_connection_that_died_idle_is_replaced(database: str) -> None:
    async with Connections.opened(DatabaseOptions(url=database), size=1, purpose="test") as connections:
        pid = await backend(connections)
        other = await asyncpg.connect(database)
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await other.close()
        async with asyncio.timeout(20):
            while not connections._idle[0].is_closed():  # known once the event loop has read it
                await asyncio.sleep(0.01)
        assert await backend(connections) != pid


async def test_a_server_that_is_silent_is_given_up_in_time(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.dsn(), statement_timeout=0.2)
    async with Connections.opened(options, size=1, purpose="test") as connections:
        process = psutil.Process(await backend(connections))
        process.suspend()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no answer in time"):
            await backend(connections)
        assert time.monotonic() - began < 4
        process.resume()
        await backend(connections)


async def test_a_server_that_is_away_is_unavailable(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.dsn())
    async with Connections.opened(options, size=1, purpose="test") as connections:
        await backend(connections)
        await asyncio.to_thread(own_postgres.stop)
        with pytest.raises(Unavailable, match=options.place):
            await backend(connections)
        await asyncio.to_thread(own_postgres.start)
        await backend(connections)
