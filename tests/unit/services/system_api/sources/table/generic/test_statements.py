"""The statements, as SQLAlchemy compiles them for each database."""

from typing import Any

import pytest
from sqlalchemy.dialects import mssql, oracle

from services.system_api.sources.table.generic.dialects import ORACLE, SQL_SERVER
from services.system_api.sources.table.generic.shape import GenericShape
from services.system_api.sources.table.generic.statements import Statements
from services.system_api.sources.table.ledger import Position

BY_KEY = GenericShape(("id",), (True,), (), None, None, ("id", "name"), "m")
BY_TIME = GenericShape(("id", "line"), (True, False), ("changed",), "local", "sku", ("id", "Name"), "m")
BY_TIMES = GenericShape(("id",), (True,), ("changed", "made"), "local", None, ("id",), "m")
PLACE = 1_769_860_800_123_456_700
DIALECTS = {
    "mssql": (SQL_SERVER, mssql.dialect()),  # type: ignore[no-untyped-call]
    "oracle": (ORACLE, oracle.dialect()),  # type: ignore[no-untyped-call]
}


def statements(name: str, shape: GenericShape, table: str = 'shop."Order Lines"') -> Statements:
    return Statements(table, shape, DIALECTS[name][0])


def compiled(name: str, statement: Any) -> tuple[str, list[Any]]:
    found = statement.compile(dialect=DIALECTS[name][1], compile_kwargs={"render_postcompile": True})
    return " ".join(str(found).split()), list(found.params.values())


def test_rows_by_key_in_sql_server() -> None:
    text, values = compiled("mssql", statements("mssql", BY_KEY).rows(100, Position(7, "7"), 90))
    assert text == (
        "SELECT TOP 100 id AS c0, id AS c1, id AS c2, name AS c3 FROM shop.[Order Lines]"
        " WHERE id IS NOT NULL AND id > :id_1 AND id < :id_2 ORDER BY id"
    )
    assert values[:2] == [7, 90]


def test_rows_by_key_in_oracle() -> None:
    text, values = compiled("oracle", statements("oracle", BY_KEY, "orders").rows(100, Position(7, None), None))
    assert text == (
        "SELECT id AS c0, id AS c1, id AS c2, name AS c3 FROM orders WHERE id IS NOT NULL AND id >= :id_1"
        " ORDER BY id FETCH FIRST 100 ROWS ONLY"
    )
    assert values[:1] == [7]


def test_rows_by_time_in_sql_server() -> None:
    text, values = compiled("mssql", statements("mssql", BY_TIME).rows(100, Position(PLACE, "7,a%2Cb"), PLACE + 100))
    assert text == (
        "SELECT TOP 100 convert(varchar(27), CAST(changed AS DATETIME2(7)), 121) AS c0, id AS c1, line AS c2,"
        " sku AS c3, id AS c4, [Name] AS c5 FROM shop.[Order Lines]"
        " WHERE changed IS NOT NULL AND id IS NOT NULL AND line IS NOT NULL"
        " AND changed >= CAST(:param_2 AS DATETIME2(7))"
        " AND (changed > CAST(:param_3 AS DATETIME2(7)) OR id > :id_1 OR id = :id_2 AND line > :line_1)"
        " AND changed < CAST(:param_4 AS DATETIME2(7)) ORDER BY changed, id, line"
    )
    place = "2026-01-31 12:00:00.1234567"
    assert [value for value in values if value != 100] == [place, place, 7, 7, "a,b", "2026-01-31 12:00:00.1234568"]


def test_rows_by_time_in_oracle() -> None:
    text, values = compiled("oracle", statements("oracle", BY_TIME, "orders").rows(100, Position(PLACE, None), None))
    assert text == (
        "SELECT to_char(changed, 'YYYY-MM-DD HH24:MI:SS.FF9') AS c0, id AS c1, line AS c2, sku AS c3, id AS c4,"
        ' "Name" AS c5 FROM orders WHERE changed IS NOT NULL AND id IS NOT NULL AND line IS NOT NULL'
        " AND changed >= to_timestamp(:param_1, 'YYYY-MM-DD HH24:MI:SS.FF9') ORDER BY changed, id, line"
        " FETCH FIRST 100 ROWS ONLY"
    )
    assert values[0] == "2026-01-31 12:00:00.123456700"


@pytest.mark.parametrize(("name", "first"), [("mssql", "SELECT TOP 5 "), ("oracle", "SELECT ")])
def test_the_first_of_several_times_counts_and_the_first_rows_have_no_place(name: str, first: str) -> None:
    text, _ = compiled(name, statements(name, BY_TIMES, "orders").rows(5, None, None))
    assert text.startswith(first)
    assert "FROM orders WHERE coalesce(changed, made) IS NOT NULL AND id IS NOT NULL ORDER BY coalesce(" in text


def test_other_statements() -> None:
    of = statements("mssql", BY_TIME, "orders")
    assert compiled("mssql", of.null_key_rows(5))[0].endswith(
        "FROM orders WHERE id IS NULL OR line IS NULL OR changed IS NULL"
    )
    text, values = compiled("mssql", of.count_between(0, 100))
    assert text == (
        "SELECT count(*) AS count_1 FROM orders"
        " WHERE changed >= CAST(:param_1 AS DATETIME2(7)) AND changed < CAST(:param_2 AS DATETIME2(7))"
    )
    assert values == ["1970-01-01 00:00:00.0000000", "1970-01-01 00:00:00.0000001"]
    assert compiled("mssql", of.now())[0].startswith("SELECT convert(varchar(27), sysutcdatetime(), 121)")
    highest = compiled("oracle", statements("oracle", BY_KEY, "orders").highest())
    assert highest == ("SELECT max(id) AS max_1 FROM orders", [])
