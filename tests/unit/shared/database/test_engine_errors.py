"""Errors of SQLAlchemy, and of asyncpg inside and beside them."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.database.engine_errors import engine_errors
from shared.errors import Unauthorized, Unavailable


def wrapped(cause: BaseException) -> DBAPIError:
    """An error of asyncpg as SQLAlchemy raises it."""
    adapted = Exception("<class 'asyncpg…'>: …")
    adapted.__cause__ = cause
    return DBAPIError("SELECT 1", {}, adapted)


@pytest.mark.parametrize(
    "error",
    [
        PoolTimeoutError("pool is exhausted"),
        wrapped(asyncpg.AdminShutdownError("terminating connection")),
        asyncpg.AdminShutdownError("terminating connection"),
        ConnectionRefusedError("connection refused"),
    ],
)
def test_temporary_errors_are_unavailable(error: Exception) -> None:
    with pytest.raises(Unavailable, match=r"^database here: ") as caught, engine_errors("database here"):
        raise error
    assert not isinstance(caught.value, Unauthorized)
    assert caught.value.__cause__ is error


def test_errors_of_privileges_are_unauthorized() -> None:
    error = wrapped(asyncpg.InsufficientPrivilegeError("permission denied for schema"))
    with pytest.raises(Unauthorized, match=r"^database here: "), engine_errors("database here"):
        raise error


@pytest.mark.parametrize(
    "error", [wrapped(asyncpg.UniqueViolationError("duplicate key")), DBAPIError("SELECT 1", {}, Exception("a bug"))]
)
def test_a_bug_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, engine_errors("database here"):
        raise error
    assert caught.value is error
