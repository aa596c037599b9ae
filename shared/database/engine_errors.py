"""Translates the errors of SQLAlchemy into Trelay's errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.database.errors import database_errors, translate
from shared.errors import Unavailable


@contextmanager
def engine_errors(address: str) -> Iterator[None]:
    """Translate errors of SQLAlchemy and asyncpg; `address` begins their text.

    Raises what `database_errors` does.
    """
    with database_errors(address):
        try:
            yield
        except PoolTimeoutError as exc:
            raise Unavailable(f"{address}: no answer in time") from exc
        except DBAPIError as exc:
            translated = translate(address, _innermost(exc))
            if translated is None:
                raise
            raise translated from exc


def _innermost(error: DBAPIError) -> BaseException:
    """Return the error of asyncpg inside those of SQLAlchemy and its adapter."""
    return error if error.orig is None else error.orig.__cause__ or error.orig
