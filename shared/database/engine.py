"""How to connect: SQLAlchemy's engine for the services' tables, and the arguments of every other connection.

The engine connects only when first used, so that a service starts before its database.
"""

import os
import ssl
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.database.options import DatabaseOptions, DatabaseTlsOptions
from shared.errors import SettingsError

_GRACE = 2.0
"""Seconds beyond the server's own time limit before we stop waiting for its answer."""


def connect_arguments(options: DatabaseOptions, purpose: str) -> dict[str, Any]:
    """Return the keyword arguments of `asyncpg.connect`; `purpose` is what `pg_stat_activity` shows.

    Raises:
        SettingsError: a file that the options name cannot be read.
    """
    return {
        "dsn": options.url,
        # Neither may be None: asyncpg would look for files in the home folder, on the event loop, each time.
        "password": _password(options),
        "ssl": False if options.tls is None else _tls_context(options.tls),
        "timeout": options.connect_timeout,
        "command_timeout": options.statement_timeout + _GRACE,
        "server_settings": {
            "application_name": f"trelay {purpose}",
            "statement_timeout": _milliseconds(options.statement_timeout),
            # A client that stops in the middle of a transaction must not hold its locks for long.
            "idle_in_transaction_session_timeout": _milliseconds(options.statement_timeout),
            # A client whose machine is gone is noticed after 10 + 3 * 3 s, not after two hours.
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "3",
            "tcp_keepalives_count": "3",
            "search_path": "public",  # the same for every account; its default begins with one named like the account
            "jit": "off",  # our statements are short; compiling one costs more than running it
        },
    }


def create_engine(options: DatabaseOptions) -> AsyncEngine:
    """Make the engine for SQLAlchemy Core; `dispose()` it at the end. Does not connect yet."""
    arguments = connect_arguments(options, "registrations")

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(**arguments)

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=options.pool_size,
        max_overflow=0,
        hide_parameters=True,  # hashes of secrets have no place in an error
        pool_timeout=options.connect_timeout,
        # A connection that died in the pool is replaced before a statement is lost on it.
        pool_pre_ping=True,
    )


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _password(options: DatabaseOptions) -> str:
    if options.password is not None:
        return options.password.get_secret_value()
    return os.environ.get("PGPASSWORD", "")


def _tls_context(options: DatabaseTlsOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as exc:
        raise SettingsError(f"database.tls.ca_file: {options.ca_file} cannot be read: {exc.strerror}") from exc
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
