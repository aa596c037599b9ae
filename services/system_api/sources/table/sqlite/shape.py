"""Reads the shape of a table in SQLite and checks the settings against it."""

import logging
from dataclasses import dataclass
from typing import NamedTuple

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sql import check_columns, quoted, quoted_table, suggest_index
from services.system_api.sources.table.sqlite.file import SqliteFile
from shared.errors import SettingsError

logger = logging.getLogger(__name__)

_COLUMNS = "SELECT name, type, pk FROM pragma_table_info(?, ?)"
_LEADS = """
    SELECT 1 FROM pragma_index_list(?, ?) l JOIN pragma_index_info(l.name, ?) i
    WHERE i.seqno = 0 AND i.name = ? AND NOT l.partial
"""


@dataclass(frozen=True, slots=True)
class SqliteShape:
    """The columns of a table that matter."""

    table: str
    key: str
    updated_at_column: str | None
    kind: type[int] | type[str]
    """The type of the order value."""
    subject: str
    columns: tuple[str, ...]

    @property
    def order(self) -> str:
        """The column that rows are ordered by."""
        return self.updated_at_column or self.key

    @property
    def mode(self) -> str:
        """What must not change under a checkpoint."""
        return f"by {self.order} ({self.kind.__name__})"


class _Column(NamedTuple):
    name: str
    declared_type: str
    primary_key: int

    @property
    def integer(self) -> bool:
        """Whether its affinity is INTEGER: https://sqlite.org/datatype3.html, section 3.1, rule 1."""
        return "INT" in self.declared_type.upper()


async def sqlite_shape_of(file: SqliteFile, options: TableSourceOptions) -> SqliteShape:
    """Return the shape of the table.

    Raises:
        Unavailable: the file cannot be read.
        SettingsError: the table cannot be read with these settings; the text names setting, table and column.
    """
    schema, _, table = options.table.rpartition(".")
    schema = schema or "main"
    columns = {row[0]: _Column(*row) for row in await file.fetch(_COLUMNS, (table, schema))}
    if not columns:
        raise SettingsError(f"table: there is no table {options.table!r}")
    check_columns(options.table, options.named_columns, list(columns))
    order = columns[options.order_column]
    by_key = options.updated_at_column is None
    if by_key and not order.integer:
        error = f"column {order.name!r} is {order.declared_type or 'of no type'}"
        raise SettingsError(
            f"key: table {options.table}: {error}; set `updated_at_column`, or a key that is an integer and grows"
        )
    is_rowid = order.name == options.key and order.integer and order.primary_key
    if not is_rowid and not await file.fetch(_LEADS, (table, schema, schema, order.name)):
        suggest_index(options.table, order.name, options.key, named=True)
    if by_key:
        await _advise_autoincrement(file, options.table, schema, table)
    return SqliteShape(
        table=options.table,
        key=options.key,
        updated_at_column=options.updated_at_column,
        kind=int if by_key else await _kind_of_time(file, options.table, order),
        subject=options.subject or options.key,
        columns=options.columns or tuple(columns),
    )


async def _kind_of_time(file: SqliteFile, table: str, order: _Column) -> type[int] | type[str]:
    """Return the type of the latest time; in an empty table, that of the declaration."""
    column = quoted(order.name)
    statement = f"""
        SELECT typeof({column}) FROM {quoted_table(table)} WHERE {column} IS NOT NULL ORDER BY {column} DESC LIMIT 1
    """  # noqa: S608 -- every name is quoted
    found = await file.fetch(statement)
    type_ = found[0][0] if found else "integer" if order.integer else "text"
    if type_ not in {"integer", "text"}:
        raise SettingsError(
            f"updated_at_column: table {table}: column {order.name!r} holds {type_}; expected text or integers"
        )
    return int if type_ == "integer" else str


async def _advise_autoincrement(file: SqliteFile, table: str, schema: str, name: str) -> None:
    statement = f"SELECT sql FROM {quoted(schema)}.sqlite_master WHERE name = ? AND type = 'table'"  # noqa: S608
    found = await file.fetch(statement, (name,))
    if found and "AUTOINCREMENT" not in found[0][0].upper():
        logger.warning(
            "key of a deleted row can be reused, and the new row missed;"
            " declare the key as INTEGER PRIMARY KEY AUTOINCREMENT",
            extra={"component": "source", "table": table},
        )
