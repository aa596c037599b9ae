"""What can go wrong between us and PostgreSQL, in our own words."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import TrelayError, Unauthorized, Unavailable

_NOT_NOW = (
    "08",  # connection exceptions
    "25006",  # read-only: a standby, or the primary before it was promoted
    "25P03",  # idle in transaction for too long
    "40",  # rolled back: deadlock, serialization, outcome unknown
    "53",  # out of connections, memory, disk
    "55P03",  # lock not available
    "57",  # cancelled (statement timeout), shutting down, starting up
    "58",  # the server's own I/O
)
_REFUSED = ("28", "42501")  # password, pg_hba, privilege
_NOT_MIGRATED = ("3F000", "42P01", "42703", "42883")  # schema, table, column, function unknown
_NO_DATABASE = "3D000"

_FOREIGN = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    DBAPIError,
    PoolTimeoutError,
    OSError,
)


@contextmanager
def database_errors(place: str) -> Iterator[None]:
    """Let no asyncpg or SQLAlchemy name past a package that talks to the database.

    Raises:
        Unauthorized: the server refuses our account or what it wants to do.
        Unavailable: the server is away, overloaded, read-only, not migrated yet, or gave up; a write may or may not
            have taken place.
    """
    try:
        yield
    except _FOREIGN as exc:
        translated = translate(place, exc)
        if translated is None:
            raise
        raise translated from exc


def translate(place: str, error: BaseException) -> TrelayError | None:
    """Return our word for an error of the client libraries, or None where it is a bug and should surface as it is."""
    cause = _innermost(error)
    if isinstance(cause, asyncpg.PostgresError):
        return _by_state(place, cause)
    if isinstance(cause, asyncpg.DataError):
        return None
    if isinstance(cause, TimeoutError | PoolTimeoutError):
        return Unavailable(f"{place}: no answer in time")
    # What asyncpg calls an internal error is its own state after a connection broke in the middle of something.
    if isinstance(cause, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        # The loop's own sentence repeats the address, as a tuple behind a number.
        said = "connection refused" if isinstance(cause, ConnectionRefusedError) else cause
        return Unavailable(f"{place}: {said}")
    return None


def _innermost(error: BaseException) -> BaseException:
    """Look through SQLAlchemy's wrapper, and through its adapter's, at what asyncpg said."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _by_state(place: str, error: asyncpg.PostgresError) -> TrelayError | None:
    state = error.sqlstate or ""
    text = f"{place}: {error.args[0] if error.args else type(error).__name__}"
    if state.startswith(_REFUSED):
        return Unauthorized(text)
    if state.startswith(_NOT_MIGRATED):
        return Unavailable(f"{text}; has `trelay migrate` been run?")
    if state.startswith(_NOT_NOW) or state == _NO_DATABASE:
        return Unavailable(text)
    return None
