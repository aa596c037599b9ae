import asyncio
import time

import asyncpg
import psutil
import pytest

from services.standalone.embedded.postgres import PostgresServer
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import Unavailable


async def backend(pool: ConnectionPool) -> int:
    """Return the process id of the server process of the next use."""
    async with pool.use() as connection:
        pid: int = await connection.fetchval("SELECT pg_backend_pid()")
        return pid


async def test_a_connection_is_kept_for_the_next_use(database: str) -> None:
    async with ConnectionPool.opened(DatabaseOptions(url=database), size=2, purpose="test") as pool:
        assert await backend(pool) == await backend(pool)


async def test_no_more_than_the_given_number_are_open(database: str) -> None:
    async with ConnectionPool.opened(DatabaseOptions(url=database), size=2, purpose="test") as pool:
        assert len(set(await asyncio.gather(*(backend(pool) for _ in range(20))))) <= 2


async def test_a_statement_has_a_name_and_a_time_limit_and_costs_no_connection(database: str) -> None:
    options = DatabaseOptions(url=database, statement_timeout=0.1)
    async with ConnectionPool.opened(options, size=1, purpose="test") as pool:
        before = await backend(pool)
        async with pool.use() as connection:
            assert await connection.fetchval("SHOW application_name") == "trelay test"
        with pytest.raises(Unavailable, match="statement timeout"):
            async with pool.use() as connection:
                await connection.execute("SELECT pg_sleep(30)")
        assert await backend(pool) == before


async def test_what_the_server_refuses_leaves_the_session_usable(database: str) -> None:
    async with ConnectionPool.opened(DatabaseOptions(url=database), size=1, purpose="test") as pool:
        before = await backend(pool)
        with pytest.raises(asyncpg.PostgresSyntaxError):
            async with pool.use() as connection, connection.transaction():
                await connection.execute("SELEKT")
        assert await backend(pool) == before


async def test_an_interrupted_statement_costs_its_connection_and_no_time(database: str) -> None:
    options = DatabaseOptions(url=database, statement_timeout=300)
    async with ConnectionPool.opened(options, size=1, purpose="test") as pool:
        before = await backend(pool)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), pool.use() as connection:
                await connection.execute("SELECT pg_sleep(120)")
        assert await backend(pool) != before
        assert time.monotonic() - began < 60  # half of what the statement would take


async def test_a_connection_that_was_lost_while_idle_is_replaced(database: str) -> None:
    async with ConnectionPool.opened(DatabaseOptions(url=database), size=1, purpose="test") as pool:
        pid = await backend(pool)
        other = await asyncpg.connect(database)
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await other.close()
        async with asyncio.timeout(60):
            while not pool._idle[0].is_closed():  # known once the event loop has read it
                await asyncio.sleep(0.01)
        assert await backend(pool) != pid


async def test_a_server_that_does_not_answer_is_unavailable_in_time(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.dsn(), statement_timeout=0.2)
    async with ConnectionPool.opened(options, size=1, purpose="test") as pool:
        process = psutil.Process(await backend(pool))
        process.suspend()
        began = time.monotonic()
        with pytest.raises(Unavailable, match="no answer in time"):
            await backend(pool)
        assert time.monotonic() - began < 60
        process.resume()
        await backend(pool)


async def test_a_server_that_is_stopped_is_unavailable(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.dsn())
    async with ConnectionPool.opened(options, size=1, purpose="test") as pool:
        await backend(pool)
        await asyncio.to_thread(own_postgres.stop)
        with pytest.raises(Unavailable, match=options.address):
            await backend(pool)
        await asyncio.to_thread(own_postgres.start)
        await backend(pool)


async def test_a_connection_in_use_at_the_end_of_the_pool_is_closed_after_its_use(database: str) -> None:
    async with ConnectionPool.opened(DatabaseOptions(url=database), size=2, purpose="test") as pool:
        await backend(pool)
        use = pool.use()
        connection = await use.__aenter__()
    assert await connection.fetchval("SELECT 1") == 1
    await use.__aexit__(None, None, None)
    assert connection.is_closed()
