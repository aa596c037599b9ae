"""Errors of queries."""

import sqlite3
from typing import Any

import asyncpg
import pytest
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, SQLAlchemyError

from services.process_api.pipeline.steps.lookup.sql_errors import is_error_of_sqlite, translated
from shared.errors import Malformed, Unauthorized, Unavailable


def of_driver(error: Exception, kind: type[DBAPIError] = DBAPIError) -> DBAPIError:
    adapted = Exception("adapted")
    adapted.__cause__ = error
    return kind("SELECT", {}, adapted)


def with_state(state: str) -> Any:
    return asyncpg.PostgresError.new({"C": state, "M": "text"})


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (of_driver(with_state("22P02")), Malformed, "db: text; the query refuses the key"),
        (of_driver(with_state("21000")), Malformed, "db: text; the query refuses the key"),
        (of_driver(with_state("P0001")), Malformed, "db: text; the query refuses the key"),
        (of_driver(with_state("54001")), Malformed, "db: text; the query refuses the key"),
        (
            OperationalError("SELECT", {}, Exception(1242, "Subquery returns more than 1 row")),
            Malformed,
            "db: 1242 Subquery returns more than 1 row; the query refuses the key",
        ),
        (OperationalError("SELECT", {}, Exception(1213, "Deadlock found")), Unavailable, "db: 1213 Deadlock found"),
        (of_driver(with_state("42P01")), Unavailable, "db: text"),
        (of_driver(with_state("42501")), Unauthorized, "db: text"),
        (of_driver(with_state("28P01")), Unauthorized, "db: text"),
        (of_driver(with_state("57P01")), Unavailable, "db: text"),
        (of_driver(asyncpg.DataError("wrong type")), Malformed, "db: wrong type; the query refuses the key"),
        (
            DataError("SELECT", {}, Exception(1406, "too long")),
            Malformed,
            "db: 1406 too long; the query refuses the key",
        ),
        (of_driver(OverflowError("too large")), Malformed, "db: too large; the query refuses the key"),
        (OperationalError("SELECT", {}, sqlite3.OperationalError("locked")), Unavailable, "db: locked"),
        (ConnectionRefusedError(111, "x"), Unavailable, "db: connection refused"),
        (SQLAlchemyError(), Unavailable, "db: SQLAlchemyError"),
    ],
)
def test_an_error_concerns_the_key_or_holds_the_partition(error: Exception, kind: type[Exception], text: str) -> None:
    found = translated("db", error)
    assert (type(found), str(found)) == (kind, text)


@pytest.mark.parametrize(("query", "may_concern_rows"), [("SELECT json('{')", True), ("SELECT 1", False)])
def test_sqlite_says_of_a_row_what_it_says_of_a_query(query: str, may_concern_rows: bool) -> None:
    connection = sqlite3.connect(":memory:")
    if not may_concern_rows:
        connection.close()
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute(query).fetchall()
    connection.close()
    assert is_error_of_sqlite(OperationalError(query, {}, caught.value)) is may_concern_rows
