"""What a table of SQLite is like, checked against what the settings say."""

import logging
from dataclasses import dataclass

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sql import no_column, quoted, quoted_table, suggest_index
from services.system_api.sources.table.sqlite.file import SqliteFile
from shared.errors import SettingsError

logger = logging.getLogger(__name__)

_COLUMNS = 'SELECT name, type, pk, "notnull" FROM pragma_table_info(?, ?)'
_LEADS = """
    SELECT 1 FROM pragma_index_list(?, ?) l JOIN pragma_index_info(l.name, ?) i
    WHERE i.seqno = 0 AND i.name = ? AND NOT l.partial
"""


@dataclass(frozen=True, slots=True)
class SqliteShape:
    """The columns that matter."""

    table: str
    key: str
    updated_at_column: str | None
    kind: type[int] | type[str]
    """What rows are ordered by."""
    subject: str
    columns: tuple[str, ...]

    @property
    def order(self) -> str:
        """The column that rows are ordered by."""
        return self.updated_at_column or self.key

    @property
    def mode(self) -> str:
        """What a checkpoint cannot be carried over."""
        return f"by {self.order} ({self.kind.__name__})"


async def sqlite_shape_of(file: SqliteFile, options: TableSourceOptions) -> SqliteShape:
    """Look the table up.

    Raises:
        Unavailable: the file cannot be read.
        SettingsError: names the setting, the table and what it has.
    """
    schema, _, table = options.table.rpartition(".")
    schema = schema or "main"
    columns = {row[0]: row for row in await file.fetch(_COLUMNS, (table, schema))}
    if not columns:
        raise SettingsError(f"table: there is no table {options.table!r}")
    names = {"key": options.key, "updated_at_column": options.updated_at_column, "subject": options.subject}
    for setting, column in [*names.items(), *(("columns", column) for column in options.columns or ())]:
        if column is not None and column not in columns:
            raise SettingsError(f"{setting}: {no_column(options.table, column, list(columns))}")
    whole_keys = "INT" in columns[options.key][1].upper()
    order = options.updated_at_column or options.key
    if options.updated_at_column is None and not whole_keys:
        said = f"column {options.key!r} is {columns[options.key][1] or 'of no type'}"
        raise SettingsError(
            f"key: table {options.table}: {said}: give `updated_at_column`, or an integer key that grows"
        )
    is_rowid = order == options.key and whole_keys and columns[order][2]
    if not is_rowid and not await file.fetch(_LEADS, (table, schema, schema, order)):
        suggest_index(options.table, order, options.key, named=True)
    if options.updated_at_column is None:
        await _advise_autoincrement(file, options.table, schema, table)
    return SqliteShape(
        table=options.table,
        key=options.key,
        updated_at_column=options.updated_at_column,
        kind=int if options.updated_at_column is None else await _kind(file, options.table, order, columns[order][1]),
        subject=options.subject or options.key,
        columns=options.columns or tuple(columns),
    )


async def _kind(file: SqliteFile, table: str, order: str, declared: str) -> type[int] | type[str]:
    """Tell what times are by the latest one, and where there is none yet by the declaration."""
    statement = f"""
        SELECT typeof({quoted(order)}) FROM {quoted_table(table)}
        WHERE {quoted(order)} IS NOT NULL ORDER BY {quoted(order)} DESC LIMIT 1
    """  # noqa: S608 -- every name is quoted
    found = await file.fetch(statement)
    type_ = found[0][0] if found else "integer" if "INT" in declared.upper() else "text"
    if type_ not in {"integer", "text"}:
        raise SettingsError(
            f"updated_at_column: table {table}: column {order!r} holds {type_}, expected text or integers"
        )
    return int if type_ == "integer" else str


async def _advise_autoincrement(file: SqliteFile, table: str, schema: str, name: str) -> None:
    statement = f"SELECT sql FROM {quoted(schema)}.sqlite_master WHERE name = ? AND type = 'table'"  # noqa: S608
    found = await file.fetch(statement, (name,))
    if found and "AUTOINCREMENT" not in found[0][0].upper():
        logger.warning(
            "table %s: SQLite gives the highest key again when its row was deleted, and such a row is missed:"
            " declare the key as INTEGER PRIMARY KEY AUTOINCREMENT",
            table,
        )
