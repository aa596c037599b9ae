"""Connections to a PostgreSQL that is somebody else's: for reading alone, and in our words when they fail."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions
from shared.database.engine import connect_arguments
from shared.database.errors import database_errors
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable


def database_of(options: TableSourceOptions) -> DatabaseOptions:
    """Return where the table is."""
    return DatabaseOptions(
        url=options.url,
        password=options.password,
        tls=options.tls,
        statement_timeout=options.statement_timeout,
    )


async def connect(options: DatabaseOptions, name: str) -> asyncpg.Connection:
    """Connect, to read for the source of this name."""
    arguments = connect_arguments(options, f"source {name}")
    # A table is found as the account finds it elsewhere, not as we look for our own.
    del arguments["server_settings"]["search_path"]
    arguments["server_settings"] |= {
        # What is read must be visible to others only when it is: nothing of ours is ever written upstream.
        "default_transaction_read_only": "on",
        "default_transaction_isolation": "read committed",
        # The same text for the same value, however server and account are set up.
        "datestyle": "ISO",
        "bytea_output": "hex",
        # Ranges and lists are looked at each time, so that the index is used and a long list is hashed.
        "plan_cache_mode": "force_custom_plan",
    }
    connection: asyncpg.Connection = await asyncpg.connect(**arguments)
    try:
        for type_ in ("timestamptz", "timestamp"):
            # As the server counts them: exact, `infinity` included, and cheaper than a datetime.
            await connection.set_type_codec(type_, schema="pg_catalog", encoder=_same, decoder=_first, format="tuple")
    except BaseException:
        connection.terminate()
        raise
    return connection


@contextmanager
def table_errors(place: str) -> Iterator[None]:
    """Let no asyncpg name past this package; see `database_errors`.

    Raises:
        Unavailable: as well when the table is not what it was.
    """
    with database_errors(place):
        try:
            yield
        except (
            asyncpg.InvalidSchemaNameError,
            asyncpg.UndefinedTableError,
            asyncpg.UndefinedColumnError,
            asyncpg.UndefinedFunctionError,
            asyncpg.InvalidCachedStatementError,
        ) as exc:
            raise Unavailable(f"{place}: {exc.args[0]}") from exc
        except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as exc:
            raise Unavailable(
                f"{place}: {exc.args[0]}: what a pooler gives for each transaction anew cannot be read through;"
                " connect directly, or through one that gives a connection for the session"
            ) from exc


def _same(value: tuple[int]) -> tuple[int]:
    return value


def _first(value: tuple[int]) -> int:
    return value[0]
