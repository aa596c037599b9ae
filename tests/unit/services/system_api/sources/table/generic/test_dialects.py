"""What SQLAlchemy compiles for each database, with its times."""

from typing import Any

import pytest
from sqlalchemy import column, select, types
from sqlalchemy.dialects import mssql, oracle

from services.system_api.sources.table.generic.dialects import ORACLE, SQL_SERVER, Dialect, TimeKind

DIALECTS: dict[str, tuple[Dialect, Any]] = {
    "SQL Server": (SQL_SERVER, mssql.dialect()),  # type: ignore[no-untyped-call]
    "Oracle": (ORACLE, oracle.dialect()),  # type: ignore[no-untyped-call]
}
TEXT = "2026-01-31 12:00:00.1234567"


def compiled(name: str, expression: Any) -> tuple[str, list[Any]]:
    _, dialect = DIALECTS[name]
    found = select(expression.label("x")).compile(dialect=dialect)
    return " ".join(str(found).split()).removesuffix(" FROM DUAL"), list(found.params.values())


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("SQL Server", "zoned", "convert(varchar(27), CAST(switchoffset(t, '+00:00') AS DATETIME2(7)), 121)"),
        ("SQL Server", "local", "convert(varchar(27), CAST(t AS DATETIME2(7)), 121)"),
        ("Oracle", "zoned", "to_char(sys_extract_utc(t), 'YYYY-MM-DD HH24:MI:SS.FF9')"),
        ("Oracle", "local", "to_char(t, 'YYYY-MM-DD HH24:MI:SS.FF9')"),
        ("Oracle", "seconds", "to_char(CAST(t AS TIMESTAMP), 'YYYY-MM-DD HH24:MI:SS.FF9')"),
    ],
)
def test_a_time_is_selected_as_text_with_all_its_digits(name: str, kind: TimeKind, text: str) -> None:
    dialect, _ = DIALECTS[name]
    assert compiled(name, dialect.as_text(column("t"), kind)) == (f"SELECT {text} AS x", [])


@pytest.mark.parametrize(
    ("name", "kind", "expression", "value"),
    [
        ("SQL Server", "zoned", "CAST(:param_1 AS DATETIMEOFFSET(7))", f"{TEXT} +00:00"),
        ("SQL Server", "local", "CAST(:param_1 AS DATETIME2(7))", TEXT),
        ("Oracle", "zoned", "from_tz(to_timestamp(:param_1, 'YYYY-MM-DD HH24:MI:SS.FF9'), 'UTC')", TEXT),
        ("Oracle", "local", "to_timestamp(:param_1, 'YYYY-MM-DD HH24:MI:SS.FF9')", TEXT),
        ("Oracle", "seconds", "to_date(:param_1, 'YYYY-MM-DD HH24:MI:SS')", "2026-01-31 12:00:00"),
    ],
)
def test_a_column_is_compared_with_all_digits_of_a_time(name: str, kind: TimeKind, expression: str, value: str) -> None:
    dialect, _ = DIALECTS[name]
    assert compiled(name, dialect.from_text(TEXT, kind)) == (f"SELECT {expression} AS x", [value])


@pytest.mark.parametrize(
    ("name", "now"),
    [
        ("SQL Server", "convert(varchar(27), sysutcdatetime(), 121)"),
        ("Oracle", "to_char(sys_extract_utc(SYSTIMESTAMP), 'YYYY-MM-DD HH24:MI:SS.FF9')"),
    ],
)
def test_the_clock_is_that_of_the_server_in_utc(name: str, now: str) -> None:
    assert compiled(name, DIALECTS[name][0].now) == (f"SELECT {now} AS x", [])


@pytest.mark.parametrize(
    ("name", "type_", "kind"),
    [
        ("SQL Server", mssql.DATETIMEOFFSET(7), "zoned"),  # type: ignore[no-untyped-call]
        ("SQL Server", mssql.DATETIME2(7), "local"),  # type: ignore[no-untyped-call]
        ("SQL Server", mssql.DATETIME(), "local"),
        ("SQL Server", mssql.SMALLDATETIME(), "local"),
        ("SQL Server", types.DATE(), None),
        ("SQL Server", mssql.TIMESTAMP(), None),  # type: ignore[no-untyped-call] # a row version
        ("Oracle", oracle.TIMESTAMP(timezone=True), "zoned"),
        ("Oracle", oracle.TIMESTAMP(local_timezone=True), "zoned"),
        ("Oracle", oracle.TIMESTAMP(), "local"),
        ("Oracle", oracle.DATE(), "seconds"),
        ("Oracle", oracle.NUMBER(), None),  # type: ignore[no-untyped-call]
    ],
    ids=str,
)
def test_a_type_tells_what_its_times_are(name: str, type_: types.TypeEngine[Any], kind: TimeKind | None) -> None:
    assert DIALECTS[name][0].time_kind(type_) == kind
