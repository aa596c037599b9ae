import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.standalone.embedded.postgres import PostgresServer
from shared.database.arguments import connect_arguments
from shared.database.engine import create_engine
from shared.database.engine_errors import engine_errors
from shared.database.options import DatabaseOptions, DatabaseTlsOptions
from shared.errors import SettingsError, Unauthorized, Unavailable


async def test_the_engine_survives_a_restart_of_the_server(own_postgres: PostgresServer) -> None:
    engine = create_engine(DatabaseOptions(url=own_postgres.dsn()))
    try:
        async with engine.begin() as connection:
            assert await connection.scalar(sa.text("SELECT 1")) == 1
        await asyncio.to_thread(own_postgres.restart)
        async with engine.begin() as connection:
            assert await connection.scalar(sa.text("SELECT 2")) == 2
    finally:
        await engine.dispose()


async def test_a_server_that_is_stopped_is_unavailable(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.dsn())
    await asyncio.to_thread(own_postgres.stop)
    engine = create_engine(options)
    with pytest.raises(Unavailable, match=options.address), engine_errors(options.address):
        async with engine.connect():
            pass
    await engine.dispose()


async def test_a_refused_privilege_is_unauthorized(database: str) -> None:
    options = DatabaseOptions(url=database)
    engine = create_engine(options)
    async with engine.connect() as connection:
        await connection.execute(sa.text("SET ROLE pg_monitor"))
        with pytest.raises(Unauthorized), engine_errors(options.address):
            await connection.execute(sa.text("CREATE SCHEMA forbidden"))
    await engine.dispose()


def test_a_file_that_cannot_be_read_is_an_error_in_the_settings() -> None:
    options = DatabaseOptions(tls=DatabaseTlsOptions(ca_file=Path("/nowhere/ca.pem")))
    with pytest.raises(SettingsError, match=r"database\.tls\.ca_file: /nowhere/ca\.pem cannot be read"):
        connect_arguments(options, "test")
