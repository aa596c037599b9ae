"""What differs between the databases that SQLAlchemy reads: their times, their clocks, and how to connect.

A time is exchanged as text with all its digits, `2026-01-31 12:00:00.1234567`: drivers round to microseconds, and a
position that is rounded would skip rows or repeat them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, String, bindparam, cast, func, literal_column, types
from sqlalchemy.dialects import mssql, oracle

TimeKind = Literal["zoned", "local", "seconds"]
"""Whether a time has a zone, has none, or has none and no fraction either."""

Kind = Callable[[types.TypeEngine[Any]], TimeKind | None]
"""Returns which kind of time a type of column is, None if it is no time."""

_TO_SECOND = 19
"""Characters of a time without its fraction."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database."""

    title: str
    """Its name, for people."""
    extra: str
    """The extra that installs its driver."""
    driver: str
    """The driver, as SQLAlchemy names it."""
    default_port: int
    digits: int
    """Digits of a second that a time has as text."""
    time_kind: Kind
    times: str
    """The types of columns that are times, for people."""
    as_text: Callable[[ColumnElement[Any], TimeKind], ColumnElement[str]]
    """Makes the expression of a time in UTC, or in the zone of its column, as text."""
    from_text: Callable[[str, TimeKind], ColumnElement[Any]]
    """Makes the expression that a column of times is compared with."""
    now: ColumnElement[str]
    """The server's clock in UTC, as text."""
    version: str
    """A statement that returns the version of the server in one row."""
    unauthorized: Mapping[str, str]
    """Parts of the errors by which the server refuses an account, each with what it means."""


_ODBC_CANONICAL: ColumnElement[Any] = literal_column("121")
_DATETIME2: types.TypeEngine[Any] = mssql.DATETIME2(7)  # type: ignore[no-untyped-call]
_DATETIMEOFFSET: types.TypeEngine[Any] = mssql.DATETIMEOFFSET(7)  # type: ignore[no-untyped-call]


def _mssql_kind(type_: types.TypeEngine[Any]) -> TimeKind | None:
    if isinstance(type_, mssql.DATETIMEOFFSET):
        return "zoned"
    return "local" if isinstance(type_, types.DateTime) else None


def _mssql_text(column: ColumnElement[Any], kind: TimeKind) -> ColumnElement[str]:
    if kind == "zoned":
        column = func.switchoffset(column, literal_column("'+00:00'"))
    return func.convert(literal_column("varchar(27)"), cast(column, _DATETIME2), _ODBC_CANONICAL)


def _mssql_time(text: str, kind: TimeKind) -> ColumnElement[Any]:
    if kind == "zoned":
        return cast(bindparam(None, f"{text} +00:00", String), _DATETIMEOFFSET)
    return cast(bindparam(None, text, String), _DATETIME2)


_ORACLE_FORM: ColumnElement[Any] = literal_column("'YYYY-MM-DD HH24:MI:SS.FF9'")
_ORACLE_SECONDS: ColumnElement[Any] = literal_column("'YYYY-MM-DD HH24:MI:SS'")


def _oracle_kind(type_: types.TypeEngine[Any]) -> TimeKind | None:
    if isinstance(type_, oracle.TIMESTAMP) and (type_.timezone or type_.local_timezone):
        return "zoned"
    if isinstance(type_, oracle.DATE):
        return "seconds"
    return "local" if isinstance(type_, types.DateTime) else None


def _oracle_text(column: ColumnElement[Any], kind: TimeKind) -> ColumnElement[str]:
    match kind:
        case "zoned":
            column = func.sys_extract_utc(column)
        case "seconds":
            column = cast(column, oracle.TIMESTAMP())
        case "local":
            pass
    return func.to_char(column, _ORACLE_FORM)


def _oracle_time(text: str, kind: TimeKind) -> ColumnElement[Any]:
    if kind == "seconds":  # a DATE that is compared with a TIMESTAMP is converted, and its index not used
        return func.to_date(bindparam(None, text[:_TO_SECOND], String), _ORACLE_SECONDS)
    time: ColumnElement[Any] = func.to_timestamp(bindparam(None, text, String), _ORACLE_FORM)
    return func.from_tz(time, literal_column("'UTC'")) if kind == "zoned" else time


SQL_SERVER = Dialect(
    title="SQL Server",
    extra="mssql",
    driver="mssql+aioodbc",
    default_port=1433,
    digits=7,
    time_kind=_mssql_kind,
    times="datetime2, datetimeoffset, datetime or smalldatetime",
    as_text=_mssql_text,
    from_text=_mssql_time,
    now=func.convert(literal_column("varchar(27)"), func.sysutcdatetime(), _ODBC_CANONICAL),
    version="SELECT CAST(SERVERPROPERTY('ProductVersion') AS varchar(128))",
    unauthorized={"18456": "login failed", "(229)": "permission denied", "(4060)": "cannot open the database"},
)
ORACLE = Dialect(
    title="Oracle",
    extra="oracle",
    driver="oracle+oracledb_async",
    default_port=1521,
    digits=9,
    time_kind=_oracle_kind,
    times="TIMESTAMP, with or without a time zone, or DATE",
    as_text=_oracle_text,
    from_text=_oracle_time,
    now=func.to_char(func.sys_extract_utc(literal_column("SYSTIMESTAMP")), _ORACLE_FORM),
    version="SELECT version FROM product_component_version FETCH FIRST 1 ROWS ONLY",
    unauthorized={
        "ORA-01017": "user or password refused",
        "ORA-01031": "insufficient privileges",
        "ORA-01045": "no CREATE SESSION",
        "ORA-28000": "account locked",
    },
)
