"""What an error of a query means: the key is refused, or the database cannot answer now."""

import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from shared.errors import Malformed, Unauthorized, Unavailable, system_reason
from shared.runtime.redaction import one_line, redact

_DATA = ("22", "21", "54", "P0")
"""The classes of SQLSTATE for what depends on the rows of a key: values that do not fit, a subquery with several rows,
a limit of the server such as its depth of calls, and an error that a function raises."""
_MYSQL_DATA = frozenset({1139, 1242, 1365, 1644, 1690, *range(3140, 3159), *range(3685, 3700)})
"""The same as codes of MariaDB and MySQL: regular expressions, a subquery with several rows, divisions, SIGNAL, numbers
out of range, and JSON."""
_REFUSED = ("28", "42501")
_SHOWN = 300


def translated(place: str, error: Exception) -> Malformed | Unavailable:
    """Return Trelay's error for one of SQLAlchemy or of a driver; `place` begins its text.

    A query that is wrong in itself holds the partition: it can be corrected while the service runs, and until then no
    event is lost to it.
    """
    cause = _innermost(error)
    shown = one_line(redact(" ".join(map(str, cause.args))))[:_SHOWN] or type(cause).__name__
    text = f"{place}: {shown}"
    state = getattr(cause, "sqlstate", None) or ""
    if state.startswith(_REFUSED):
        return Unauthorized(text)
    if state.startswith(_DATA) or isinstance(error, DataError | IntegrityError) or _is_data_error(cause):
        return Malformed(f"{text}; the query refuses the key")
    if (reason := system_reason(cause)) is not None:
        return Unavailable(f"{place}: {reason}")
    return Unavailable(text)


def is_error_of_sqlite(error: Exception) -> bool:
    """Whether SQLite says no more than that a query failed: it may be wrong, or fail on a row."""
    return getattr(_innermost(error), "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR


def is_interruption_of_sqlite(error: Exception) -> bool:
    """Return whether SQLite interrupted a query."""
    return getattr(_innermost(error), "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def _is_data_error(cause: BaseException) -> bool:
    """Whether a driver refuses to send a value, or the code of MariaDB and MySQL names the rows."""
    if type(cause).__name__ == "DataError" or isinstance(cause, sqlite3.DataError | OverflowError):
        return True
    return bool(cause.args) and isinstance(cause.args[0], int) and cause.args[0] in _MYSQL_DATA


def _innermost(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error
