"""The arguments of all connections to the database."""

import ssl
from typing import Any

from shared.database.options import DatabaseOptions, DatabaseTlsOptions
from shared.database.password import Password
from shared.errors import SettingsError

_GRACE = 2.0
"""Seconds after the server's own statement timeout until the client stops waiting for it."""


def connect_arguments(options: DatabaseOptions, purpose: str) -> dict[str, Any]:
    """Return the arguments of `connecting.open_connection`; `purpose` appears in `pg_stat_activity`.

    Raises:
        SettingsError: a file in the options cannot be read.
    """
    return {
        **options.endpoint,
        "password": Password(options.password),
        # Not None: asyncpg would read files in the home folder each time, on the event loop.
        "ssl": False if options.tls is None else tls_context(options.tls),
        "timeout": options.connect_timeout,
        "command_timeout": options.statement_timeout + _GRACE,
        "server_settings": {
            "application_name": f"trelay {purpose}",
            "statement_timeout": _milliseconds(options.statement_timeout),
            # A client that stops in a transaction must not hold its locks for long.
            "idle_in_transaction_session_timeout": _milliseconds(options.statement_timeout),
            # Connections are kept for long, and wait for locks as long as for anything else.
            "idle_session_timeout": "0",
            "lock_timeout": "0",
            "transaction_timeout": "0",
            # A client whose machine is gone is detected after 10 + 3 * 3 s, not after two hours.
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "3",
            "tcp_keepalives_count": "3",
            "search_path": "public",  # the default depends on the name of the role
            "jit": "off",  # the statements are short: compiling one costs more than running it
        },
    }


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def tls_context(options: DatabaseTlsOptions) -> ssl.SSLContext:
    """Return the context for TLS to a database.

    Raises:
        SettingsError: a file in the options cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as exc:
        raise SettingsError(f"database.tls.ca_file: {options.ca_file} cannot be read: {exc.strerror}") from exc
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
