"""Read-only connections to an upstream PostgreSQL, and the translation of their errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions
from shared.database.arguments import connect_arguments
from shared.database.connecting import open_connection
from shared.database.errors import database_errors
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable

_VALUES = {
    "timezone": "UTC",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "xmloption": "content",
    "array_nulls": "on",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "gin_fuzzy_search_limit": "0",
    "row_security": "on",
}
"""Settings that decide how a value is written, or which rows a statement returns: the same, whatever the settings of
the server and of the account are. The search path stays the account's: views and their functions may need it."""

_DURABLE = """
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
"""Rows that are removed from an outbox must not return with a crash of the server: they would be published again."""

_ROW_ERRORS = ("22", "54", "P0")
"""Classes of SQLSTATE that one row can cause: a value that does not convert, a JSON that is too long, an exception
raised by a function of a view."""


def is_row_error(error: asyncpg.PostgresError) -> bool:
    """Return whether one row may have caused an error of a statement."""
    return (error.sqlstate or "").startswith(_ROW_ERRORS)


def database_of(options: TableSourceOptions) -> DatabaseOptions:
    """Return the database of the table."""
    return DatabaseOptions(
        url=options.url,
        password=options.password,
        tls=options.tls,
        statement_timeout=options.statement_timeout,
    )


async def connect(options: DatabaseOptions, name: str, *, writable: bool = False) -> asyncpg.Connection:
    """Connect for the source of this name. Transactions are read-only unless `writable`."""
    arguments = connect_arguments(options, f"source {name}")
    # Tables are resolved by the search path of the account, not by that of Trelay's own database.
    del arguments["server_settings"]["search_path"]
    arguments["server_settings"] |= {
        # Nothing is ever written upstream, but for the rows of an outbox.
        "default_transaction_read_only": "off" if writable else "on",
        "default_transaction_isolation": "read committed",
        **_VALUES,
        # Plan with the actual ranges and lists, so that the index is used and a long list is hashed.
        "plan_cache_mode": "force_custom_plan",
    }
    connection = await open_connection(arguments)
    try:
        if writable:
            await connection.execute(_DURABLE)
        for type_ in ("timestamptz", "timestamp", "date"):
            # Microseconds or days as the server counts them: exact, with `infinity`, and cheaper than a datetime.
            await connection.set_type_codec(
                type_, schema="pg_catalog", encoder=_same, decoder=itemgetter(0), format="tuple"
            )
    except BaseException:
        connection.terminate()
        raise
    return connection


@contextmanager
def table_errors(place: str) -> Iterator[None]:
    """Translate asyncpg's errors; see `database_errors`.

    Raises:
        Unavailable: also when the table has changed since the connection was opened, or a key is not text.
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
        except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError) as exc:
            # In another column, it is an error of its row; without a key there is nothing to name the row by.
            raise Unavailable(
                f"{place}: the key of a row has text that UTF-8 does not have ({exc.args[0]}): correct it; rows behind"
                " it wait"
            ) from exc


def _same(value: tuple[int]) -> tuple[int]:
    return value
