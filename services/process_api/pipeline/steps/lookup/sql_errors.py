"""What an error of a query means: the key is refused, or the database cannot answer now."""

import sqlite3

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from shared.errors import Malformed, Unauthorized, Unavailable
from shared.runtime.redaction import one_line, redact

_DATA = "22"
"""The class of SQLSTATE for values that do not fit."""
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
    if state.startswith(_DATA) or isinstance(error, DataError | IntegrityError) or _is_client_data_error(cause):
        return Malformed(f"{text}; the query refuses the key")
    if isinstance(cause, ConnectionRefusedError):
        return Unavailable(f"{place}: connection refused")
    return Unavailable(text)


def _is_client_data_error(cause: BaseException) -> bool:
    """Whether a driver refuses to send a value."""
    return type(cause).__name__ == "DataError" or isinstance(cause, sqlite3.DataError | OverflowError)


def _innermost(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error
