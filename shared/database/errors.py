"""Translates the errors of asyncpg into Trelay's errors; `engine_errors` does so for those of SQLAlchemy."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from shared.errors import TrelayError, Unauthorized, Unavailable, system_reason

_UNAVAILABLE = (
    "08",  # connection exceptions
    "25006",  # read-only: a standby, or the primary before it was promoted
    "25P03",  # idle in transaction for too long
    "25P04",  # in a transaction for too long
    "40",  # rolled back: deadlock, serialization failure, outcome unknown
    "53",  # out of connections, memory, disk
    "55P03",  # lock not available
    "57",  # cancelled (statement timeout), shutting down, starting up
    "58",  # I/O errors of the server
)
_UNAUTHORIZED = ("28", "42501")  # password, pg_hba.conf, privilege
_NOT_MIGRATED = ("3F000", "42P01", "42703", "42883")  # unknown schema, table, column, function
_NO_DATABASE = "3D000"
_NO_SESSION = ("26000", "42P05")  # a prepared statement that is missing, or of somebody else

_CLIENT_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)


@contextmanager
def database_errors(address: str) -> Iterator[None]:
    """Translate errors of asyncpg; `address` begins their text.

    Raises:
        Unauthorized: the server refuses the role, or the role lacks a privilege.
        Unavailable: the server does not answer, is overloaded, read-only or not migrated yet, or a statement timed out;
            a write may or may not have taken place.
    """
    try:
        yield
    except _CLIENT_ERRORS as exc:
        translated = translate(address, exc)
        if translated is None:
            raise
        raise translated from exc


def translate(address: str, error: BaseException) -> TrelayError | None:
    """Return Trelay's error for one of asyncpg, or None if it is a bug and must be raised as it is."""
    if isinstance(error, asyncpg.PostgresError):
        return _by_state(address, error)
    if isinstance(error, asyncpg.DataError):
        return None
    if isinstance(error, TimeoutError):
        return Unavailable(f"{address}: no answer in time")
    # Asyncpg raises an internal error if a connection is lost in the middle of a statement.
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return Unavailable(f"{address}: {system_reason(error) or error}")
    return None


def _by_state(address: str, error: asyncpg.PostgresError) -> TrelayError | None:
    state = error.sqlstate or ""
    text = f"{address}: {error.args[0] if error.args else type(error).__name__}"
    if state.startswith(_UNAUTHORIZED):
        return Unauthorized(text)
    if state.startswith(_NOT_MIGRATED):
        return Unavailable(f"{text}; run `trelay migrate`")
    if state in _NO_SESSION:
        # The client's text goes on for ten lines.
        return Unavailable(
            f"{text.splitlines()[0]}: found a pooler in transaction mode;"
            " connect directly, or through a pooler in session mode"
        )
    if state.startswith(_UNAVAILABLE) or state == _NO_DATABASE:
        return Unavailable(text)
    return None
