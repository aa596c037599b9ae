"""Connections, directly and through a real PgBouncer in each of its modes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from services.standalone.embedded.postgres import PostgresOptions, PostgresServer
from shared.database.arguments import connect_arguments
from shared.database.connecting import PoolerError, open_connection
from shared.database.errors import database_errors
from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import Unauthorized, Unavailable
from tests.servers.missing import skipping_without
from tests.servers.pgbouncer import Mode, pgbouncer


@pytest.fixture(params=["direct", "session"])
def dsn(request: pytest.FixtureRequest, database: str) -> Iterator[str]:
    if request.param == "direct":
        yield database
        return
    with skipping_without("PgBouncer", request.config), pgbouncer("session", database) as pooled:
        yield pooled


@pytest.mark.every_postgres
async def test_settings_take_effect_and_stay(dsn: str) -> None:
    arguments = connect_arguments(DatabaseOptions(url=dsn, statement_timeout=7), "test")
    arguments["server_settings"] |= {"default_transaction_read_only": "on", "no_such_setting": "1"}
    connection = await open_connection(arguments)
    for name, value in (
        ("statement_timeout", "7s"),
        ("search_path", "public"),
        ("jit", "off"),
        ("application_name", "trelay test"),
        ("idle_session_timeout", "0"),
    ):
        assert await connection.fetchval("SELECT current_setting($1)", name) == value
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await connection.execute("CREATE TABLE t ()")
    await connection.close()


async def test_no_limit_of_the_account_ends_a_long_transaction(database: str) -> None:
    """As the one in which a large part of a log is decoded."""
    connection = await asyncpg.connect(database)
    _, _, name = database.rpartition("/")
    known = await connection.fetchval("SELECT current_setting('transaction_timeout', true)")
    if known is not None:
        await connection.execute(f'ALTER DATABASE "{name}" SET transaction_timeout = 1000')
    await connection.close()
    connection = await open_connection(connect_arguments(DatabaseOptions(url=database), "test"))
    assert await connection.fetchval("SELECT current_setting('transaction_timeout', true)") == (known and "0")
    await connection.close()


async def test_notifications_are_received(dsn: str) -> None:
    heard: asyncio.Queue[str | None] = asyncio.Queue()
    async with Listener.opened(DatabaseOptions(url=dsn), {"news": heard.put_nowait}) as listener:
        assert await asyncio.wait_for(heard.get(), 60) is None
        await listener.notify("news", "hello")
        assert await asyncio.wait_for(heard.get(), 60) == "hello"


@pytest.mark.parametrize("size", [1, 20])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_keeps_no_sessions_is_refused_before_anything_is_set(
    request: pytest.FixtureRequest, database: str, mode: Mode, size: int
) -> None:
    with skipping_without("PgBouncer", request.config), pgbouncer(mode, database, size=size) as pooled:
        arguments = connect_arguments(DatabaseOptions(url=pooled), "test")
        arguments["server_settings"] |= {"default_transaction_read_only": "on"}
        with pytest.raises(Unavailable, match=f"{mode} (pooling )?mode"), database_errors("there"):
            await open_connection(arguments)
        # The settings must not have reached a session that other clients use.
        other = await asyncpg.connect(pooled, statement_cache_size=0)
        for _ in range(3):
            assert await other.fetchval("SELECT current_setting('default_transaction_read_only')") == "off"
        await other.close()


async def test_a_pooler_without_a_second_connection_does_not_tell_its_mode(
    request: pytest.FixtureRequest, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.database.connecting._TIMEOUT", 0.5)
    with (
        skipping_without("PgBouncer", request.config),
        pgbouncer("session", database, size=1) as pooled,
        pytest.raises(PoolerError, match="increase its pool size"),
    ):
        await open_connection(connect_arguments(DatabaseOptions(url=pooled), "test"))


@pytest.fixture
def with_password(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server that asks for a password."""
    server = PostgresServer(PostgresOptions(tmp_path / "postgres", durable=False))
    server.start()
    yield server
    server.stop()


async def test_a_password_in_a_file_is_changed_while_connections_are_opened(
    with_password: PostgresServer, tmp_path: Path
) -> None:
    """First the file, then the server, then the file again, as it is done by hand: no connection fails."""
    file = tmp_path / "password"
    file.write_text((tmp_path / "postgres" / "password").read_text())
    url = f"postgresql://trelay@127.0.0.1:{with_password.port}/trelay"
    given = {"url": url, "password": {"file": str(file)}}
    options = await asyncio.to_thread(DatabaseOptions.model_validate, given)

    async def ask(statement: str = "SELECT 1") -> None:
        pool.drop_idle()  # so that it connects
        async with pool.use() as connection:
            await connection.execute(statement)

    async with ConnectionPool.opened(options, size=1, purpose="test") as pool:
        await ask()
        file.write_text("new")
        await ask()
        await ask("ALTER ROLE trelay PASSWORD 'new'")
        await ask()
        file.write_text("wrong")
        await ask()
        await ask("ALTER ROLE trelay PASSWORD 'another'")
        with pytest.raises(Unauthorized, match="password authentication failed"):
            await ask()
