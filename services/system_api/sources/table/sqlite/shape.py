"""Reads the shape of a table in SQLite and checks the settings against it."""

import logging
from dataclasses import dataclass
from typing import NamedTuple

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sql import (
    check_columns,
    check_unique,
    check_view,
    coalesced,
    identifiers,
    quoted,
    quoted_table,
    suggest_index,
    unit_error,
)
from services.system_api.sources.table.sqlite.file import VIEW, SqliteFile
from shared.errors import SettingsError

logger = logging.getLogger(__name__)

# Without the hidden columns of virtual tables; generated ones are hidden in another way.
_COLUMNS = "SELECT name, type, pk FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1"
_INDEXES = """
    SELECT l.name, l."unique", i.name FROM pragma_index_list(?, ?) l JOIN pragma_index_info(l.name, ?) i
    WHERE NOT l.partial ORDER BY l.origin <> 'pk', l.seq, i.seqno
"""
_PAGES = "SELECT rootpage, tbl_name, type FROM sqlite_master WHERE rootpage > 0"
_OPCODE, _P2 = 1, 3
"""Columns of EXPLAIN."""
VERSION = "PRAGMA schema_version"
_KINDS: dict[str, type[int] | type[float] | type[str]] = {"integer": int, "real": float, "text": str}


@dataclass(frozen=True, slots=True)
class SqliteShape:
    """The columns of a table that matter."""

    table: str
    keys: tuple[str, ...]
    times: tuple[str, ...]
    """The columns of times: the first that is not NULL orders the rows. Empty: they are ordered by the key."""
    kind: type[int] | type[float] | type[str] | None
    """The type of the order value; None: rows are not read in an order."""
    way: str
    """The mode of the settings."""
    subject: str | None
    """The column of subjects; None: the key."""
    columns: tuple[str, ...]
    assigned: bool
    """Whether SQLite assigns the keys."""
    integers: frozenset[str]
    """The columns of the key that hold integers."""
    counted: str | None = None
    """The name under which SQLite keeps the highest key that it has assigned (`AUTOINCREMENT`); None: it does not."""

    @property
    def order(self) -> str:
        """The column that rows are ordered by, or several, for errors."""
        return ", ".join(self.times or self.keys[:1])

    @property
    def mode(self) -> str:
        """What must not change under a checkpoint."""
        if self.kind is None:
            return f"{self.way} by {', '.join(self.keys)}"
        keys = "".join(f", {name}" for name in self.keys) if len(self.keys) > 1 else ""
        return f"by {self.order}{keys} ({self.kind.__name__})"


class _Column(NamedTuple):
    name: str
    declared_type: str
    primary_key: int

    @property
    def integer(self) -> bool:
        """Whether its affinity is INTEGER: https://sqlite.org/datatype3.html, section 3.1, rule 1."""
        return "INT" in self.declared_type.upper()

    @property
    def real(self) -> bool:
        """Whether its affinity is REAL: rule 4."""
        return any(part in self.declared_type.upper() for part in ("REAL", "FLOA", "DOUB"))


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    columns: dict[str, _Column]
    is_table: bool
    sql: str
    """The statement that created it."""
    rowid: str | None
    """The column that is another name of the rowid, which SQLite assigns."""
    indexes: dict[str, tuple[bool, list[str]]]
    """Whether each index is unique, and its columns."""

    @property
    def unique(self) -> list[list[str]]:
        """The columns of the primary key and of each unique index."""
        key = sorted(
            filter(lambda column: column.primary_key, self.columns.values()), key=lambda each: each.primary_key
        )
        found = [columns for unique, columns in self.indexes.values() if unique and None not in columns]
        return [[column.name for column in key], *found] if key else found


async def sqlite_shape_of(file: SqliteFile, options: TableSourceOptions) -> SqliteShape:
    """Return the shape of the table.

    Raises:
        Unavailable: the file cannot be read.
        SettingsError: the table cannot be read with these settings; the text names setting, table and column.
    """
    name = VIEW if options.query else options.table
    table = await _table(file, name)
    check_columns(options.described, options.named_columns, list(table.columns))
    by_key = options.updated_at_column is None and options.ordered
    order = table.columns[options.order_columns[0]]
    if by_key:
        _check_grows(options, table, order)
    if table.is_table:
        check_unique(options.table, options.keys, table.unique)
        # The first of several columns that is not NULL is an expression; an index on one has no column of this name.
        first = None if len(options.times) > 1 else order.name
        if order.name != table.rowid and not any(columns[0] == first for _, columns in table.indexes.values()):
            suggest_index(options.table, options.order_columns, options.keys, named=True)
    elif options.times and options.overlap == 0:  # a query has an overlap
        check_view(options.table, selection=await _is_selection(file, options.table))
    reusable = order.name == table.rowid and "AUTOINCREMENT" not in table.sql.upper()
    if options.mode == "outbox":
        _check_outbox(options, table, reusable=reusable)
    if by_key and reusable:
        logger.warning(
            "key of a deleted row can be reused, and the new row missed;"
            " declare the key as INTEGER PRIMARY KEY AUTOINCREMENT",
            extra={"component": "source", "table": options.table},
        )
    return SqliteShape(
        table=name,
        keys=options.keys,
        times=options.times,
        kind=None if not options.ordered else int if by_key else await _kind_of_time(file, options, name, order),
        way=options.mode,
        subject=options.subject,
        columns=options.columns or tuple(table.columns),
        assigned=order.name == table.rowid,
        integers=frozenset(name for name in options.keys if table.columns[name].integer),
        counted=None if order.name != table.rowid or reusable else table.name,
    )


async def _table(file: SqliteFile, given: str) -> _Table:
    *schemas, name = identifiers(given)
    schema = schemas[0] if schemas else "main"
    columns = {row[0]: _Column(*row) for row in await file.fetch(_COLUMNS, (name, schema))}
    if not columns:
        raise SettingsError(f"table: there is no table {given!r}")
    statement = f"SELECT type, sql FROM {quoted(schema)}.sqlite_master WHERE name = ? COLLATE NOCASE"  # noqa: S608
    type_, sql = next(iter(await file.fetch(statement, (name,))), ("view", ""))
    keys = [column for column in columns.values() if column.primary_key]
    indexes: dict[str, tuple[bool, list[str]]] = {}
    for index, unique, column in await file.fetch(_INDEXES, (name, schema, schema)):
        indexes.setdefault(index, (bool(unique), []))[1].append(column)
    # https://sqlite.org/lang_createtable.html#rowid: a primary key of exactly this type, without an index of its own.
    single = len(keys) == 1 and keys[0].declared_type.upper() == "INTEGER"
    own_index = any(columns == [keys[0].name] for _, columns in indexes.values()) if single else False
    rowid = keys[0].name if single and not own_index and type_ == "table" else None
    return _Table(schema, name, columns, type_ == "table", sql or "", rowid, indexes)


async def _is_selection(file: SqliteFile, view: str) -> bool:
    """Return whether a view reads one table once, without groups: its program opens nothing of another table."""
    program = await file.fetch(f"EXPLAIN SELECT * FROM {quoted_table(view)}")  # noqa: S608 -- the name is quoted
    pages = [row[_P2] for row in program if row[_OPCODE] == "OpenRead"]
    found = await file.fetch(_PAGES)
    opened = [(name, type_) for page in pages for number, name, type_ in found if number == page]
    names = {name for name, _ in opened}
    grouped = any(row[_OPCODE].startswith("Agg") for row in program)
    return not grouped and len(names) == 1 and sum(type_ == "table" for _, type_ in opened) <= 1


def _check_grows(options: TableSourceOptions, table: _Table, key: _Column) -> None:
    if not key.integer:
        error = f"column {key.name!r} is {key.declared_type or 'of no type'}"
        raise SettingsError(
            f"key: {options.described}: {error}; set `updated_at_column`, or a key that is an integer and grows, or"
            " `mode: diff` for a small table"
        )
    if key.name != table.rowid and options.overlap == 0:
        raise SettingsError(
            f"key: table {options.table}: SQLite does not assign the values of column {key.name!r}, so a lower one may"
            " appear after a higher one: declare it as INTEGER PRIMARY KEY AUTOINCREMENT, set `updated_at_column`, or"
            " `mode: diff` for a small table, or set `overlap` to the seconds between an application making a key and"
            " committing its row, if keys grow with time"
        )


def _check_outbox(options: TableSourceOptions, table: _Table, *, reusable: bool) -> None:
    if not table.is_table:
        raise SettingsError(f"table: {options.table} is not a table; an outbox is one, from which rows are removed")
    for name in options.keys:
        declared = table.columns[name].declared_type
        if not declared or "BLOB" in declared.upper():
            found = f"column {name!r} is {declared or 'of no type'}"
            raise SettingsError(f"key: table {options.table}: {found}; expected an integer or text")
    if reusable and options.published_column is None:
        raise SettingsError(
            f"key: table {options.table}: SQLite can give the key of a deleted row to a new one, whose event would have"
            " the same id: declare it as INTEGER PRIMARY KEY AUTOINCREMENT, or set `published_column`"
        )


async def _kind_of_time(
    file: SqliteFile, options: TableSourceOptions, table: str, order: _Column
) -> type[int] | type[float] | type[str]:
    """Return the type of the latest time; in an empty table, that of the declaration."""
    names = ", ".join(map(repr, options.times))
    column = coalesced([f"t.{quoted(name)}" for name in options.times])
    statement = f"""
        SELECT typeof({column}) FROM {quoted_table(table)} t WHERE {column} IS NOT NULL ORDER BY {column} DESC LIMIT 1
    """  # noqa: S608 -- every name is quoted
    found = await file.fetch(statement)
    type_ = found[0][0] if found else "integer" if order.integer else "real" if order.real else "text"
    if type_ not in _KINDS:
        raise SettingsError(
            f"updated_at_column: {options.described}: column {names} holds {type_}; expected text, integers or real"
            " numbers"
        )
    if type_ == "text" and options.time_unit is not None:
        raise SettingsError(unit_error(options.described, ", ".join(options.times), type_, number=False))
    return _KINDS[type_]
