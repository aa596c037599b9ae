"""Reads the columns of a query in MariaDB or MySQL: the server parses it, and tells their names and types."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from services.system_api.sources.table.checking.query import subquery
from services.system_api.sources.table.mysql.connection import MysqlConnection
from services.system_api.sources.table.mysql.values import Column, quoted
from services.system_api.sources.table.sql import check_distinct
from shared.errors import SettingsError, Unavailable

_REFUSED = {1054, 1060, 1064, 1109, 1111, 1140, 1146, 1149, 1221, 1222, 1241, 1248, 1305, 1582, 1630, 1792}
"""What is wrong with a statement: https://mariadb.com/kb/en/mariadb-error-code-reference/."""
_TEXTS = {True: "varbinary", False: "varchar"}
"""By whether the bytes have no character set."""
_TYPES = {
    0: "decimal",
    1: "tinyint",
    2: "smallint",
    3: "int",
    4: "float",
    5: "double",
    7: "timestamp",
    8: "bigint",
    9: "mediumint",
    10: "date",
    11: "time",
    12: "datetime",
    13: "year",
    14: "date",
    16: "bit",
    245: "json",
    246: "decimal",
    255: "geometry",
}
"""By the number in the protocol: https://mariadb.com/kb/en/result-set-packets/#field-types. All others are text."""


async def query_columns(connection: MysqlConnection, query: str) -> list[Column]:
    """Return the columns of a query. JSON of MariaDB is text.

    Raises:
        SettingsError: the server refuses it.
        Unavailable: the server does not answer.
    """
    with _refused():
        # Alone: what would end the subquery, or follow it, is an error here. Nothing is executed.
        await connection.fetch("PREPARE trelay_query FROM %s", [query])
        await connection.fetch("DEALLOCATE PREPARE trelay_query")
        relation = relation_of(query)
        described = await connection.describe(f"SELECT t.* FROM {relation} t LIMIT 0")  # noqa: S608 -- it is a query
        names = [name for name, _ in described]
        check_distinct(names)
        charsets = ", ".join(f"CHARSET(t.{quoted(name)})" for name in names)
        ((found),) = await connection.fetch(
            f"SELECT {charsets} FROM (SELECT 1) one LEFT JOIN {relation} t ON FALSE LIMIT 1"  # noqa: S608
        )
    return [
        Column(name, _TYPES.get(code, _TEXTS[charset == "binary"]), nullable=True, auto_increment=False)
        for (name, code), charset in zip(described, found, strict=True)
    ]


def relation_of(query: str) -> str:
    """Return a query as a subquery of a statement with arguments: a percent sign in it is doubled."""
    return subquery(query.replace("%", "%%"))


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except Unavailable as exc:
        error = exc.__cause__
        arguments = getattr(error.orig, "args", ()) if isinstance(error, DBAPIError) else ()
        if arguments and arguments[0] in _REFUSED:
            raise SettingsError(f"query: the server refuses it: {arguments[1]}") from exc
        raise
