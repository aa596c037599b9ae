import asyncpg
import pytest

from shared.database.errors import database_errors
from shared.errors import Unauthorized, Unavailable


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("connection refused"),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("got result for unknown protocol state 0"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.InvalidCatalogNameError('database "x" does not exist'),
    ],
)
def test_temporary_errors_are_unavailable(error: Exception) -> None:
    with pytest.raises(Unavailable, match=r"^database here: ") as caught, database_errors("database here"):
        raise error
    assert not isinstance(caught.value, Unauthorized)
    assert caught.value.__cause__ is error


def test_a_limit_of_transactions_is_unavailable() -> None:
    fields = {"S": "FATAL", "C": "25P04", "M": "terminating connection due to transaction timeout"}
    with pytest.raises(Unavailable, match="transaction timeout"), database_errors("database here"):
        raise asyncpg.PostgresError.new(fields)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"),
        asyncpg.InsufficientPrivilegeError("permission denied for schema"),
    ],
)
def test_errors_of_credentials_and_privileges_are_unauthorized(error: Exception) -> None:
    with pytest.raises(Unauthorized, match=r"^database here: "), database_errors("database here"):
        raise error


def test_missing_tables_name_the_command_to_run() -> None:
    with pytest.raises(Unavailable, match="run `trelay migrate`"), database_errors("database here"):
        raise asyncpg.UndefinedTableError('relation "trelay.clients" does not exist')


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError("duplicate key"),
        asyncpg.PostgresSyntaxError("syntax error"),
        asyncpg.DataError("invalid input"),
        KeyError("not of the database"),
    ],
)
def test_a_bug_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, database_errors("database here"):
        raise error
    assert caught.value is error


def test_a_refused_connection_is_described_in_words() -> None:
    refused = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 5432)")
    with pytest.raises(Unavailable) as caught, database_errors("database db:5432/x"):
        raise refused
    assert str(caught.value) == "database db:5432/x: connection refused"


def test_lost_prepared_statements_are_those_of_a_pooler() -> None:
    error = asyncpg.InvalidSQLStatementNameError('prepared statement "a" does not exist\nHINT: many lines')
    with pytest.raises(Unavailable) as caught, database_errors("database here"):
        raise error
    assert str(caught.value) == (
        'database here: prepared statement "a" does not exist: found a pooler in transaction mode;'
        " connect directly, or through a pooler in session mode"
    )
