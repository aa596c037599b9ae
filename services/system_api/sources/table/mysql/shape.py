"""Reads the shape of a table in MariaDB or MySQL, and checks the settings against it."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.system_api.sources.table.mysql.connection import MysqlConnection
from services.system_api.sources.table.mysql.queries import query_columns, relation_of
from services.system_api.sources.table.mysql.replica import STANDBY
from services.system_api.sources.table.mysql.values import Column, quoted
from services.system_api.sources.table.mysql.views import check_selection
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.sql import check_columns, check_unique, identifiers, suggest_index, unit_error
from services.system_api.sources.table.time_scale import Days, Microseconds, TimeScale, TimeUnit, numbers
from shared.errors import SettingsError, Unauthorized

logger = logging.getLogger(__name__)

_COLUMNS = """
    SELECT column_name, LOWER(data_type), is_nullable = 'YES', extra LIKE '%%auto_increment%%', column_type
    FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position
"""
_TABLE = """
    SELECT table_type, table_name, create_time FROM information_schema.tables
    WHERE table_schema = %s AND table_name = %s
"""
_INDEXES = """
    SELECT index_name, non_unique, column_name FROM information_schema.statistics
    WHERE table_schema = %s AND table_name = %s ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index
"""
_JSON_CHECK = re.compile(r"'(?:[^'\\]|''|\\.)*'|CHECK \(json_valid\(`((?:[^`]|``)+)`\)\)|`(?:[^`]|``)+`", re.DOTALL)
"""Finds the name of a checked column in a definition, and takes texts and other names as a whole."""
_TRANSACTIONS = "SELECT count(*) FROM information_schema.innodb_trx"
_TIMES = ("timestamp", "datetime")
_NUMBERS = ("int", "bigint", "double")
"""Types of times that are numbers since 1970."""


@dataclass(frozen=True, slots=True)
class MysqlShape:
    """The columns of a table that matter."""

    table: str
    relation: str
    """Quoted, with its schema."""
    columns: tuple[Column, ...]
    """The columns of the data."""
    keys: tuple[Column, ...]
    times: tuple[Column, ...]
    """The columns of times: the first that is not NULL orders the rows. Empty: they are ordered by the key."""
    subject: Column | None
    published: Column | None
    """The column of an outbox that marks rows as published; None: they are deleted."""
    way: str
    """The mode of the settings."""
    lists_transactions: bool
    """Whether the account may see which transactions are open."""
    definition: tuple[Any, ...]
    """What differs when another table has the name, or another definition."""
    time_unit: TimeUnit | None = None
    """What numbers in `times` count."""

    @property
    def order(self) -> Column:
        """The column that rows are ordered by; of several, the first, whose type all have."""
        return self.times[0] if self.times else self.keys[0]

    @property
    def order_name(self) -> str:
        """The column that rows are ordered by, or several, for errors."""
        return ", ".join(column.name for column in self.times or self.keys[:1])

    @property
    def scale(self) -> TimeScale:
        """What the order values of times are."""
        if self.time_unit is not None:
            return numbers(self.time_unit, floating=self.order.type == "double")
        return Days() if self.order.type == "date" else Microseconds()

    @property
    def mode(self) -> str:
        """What must not change under a checkpoint."""
        names = ", ".join(key.name for key in self.keys)
        if self.way != "incremental":
            return f"{self.way} by {names}"
        if not self.times:
            return f"by {names} (bigint)"
        return f"by {self.order_name}{f', {names}' if len(self.keys) > 1 else ''} ({self.order.type})"


@dataclass(frozen=True, slots=True)
class _Relation:
    """What the server has of a table, a view or a query."""

    sql: str
    """For a statement with arguments."""
    columns: Mapping[str, Column]
    definition: tuple[Any, ...]
    is_table: bool
    indexes: Mapping[str, tuple[bool, list[str]]]
    """Whether each is unique, and its columns."""


async def mysql_shape_of(connection: MysqlConnection, options: TableSourceOptions) -> MysqlShape:
    """Return the shape of the table.

    Raises:
        Unavailable: the server does not answer.
        SettingsError: the table cannot be read with these settings; the text names setting, table and column.
    """
    relation = await (_query if options.query else _table)(connection, options)
    columns = relation.columns
    check_columns(options.described, options.named_columns, list(columns))
    shape = MysqlShape(
        table=options.relation,
        relation=relation.sql,
        columns=tuple(columns[name] for name in options.columns or columns),
        keys=tuple(columns[name] for name in options.keys),
        times=tuple(columns[name] for name in options.times),
        subject=None if options.subject is None else columns[options.subject],
        published=None if options.published_column is None else columns[options.published_column],
        way=options.mode,
        lists_transactions=await _lists_transactions(connection),
        definition=relation.definition,
        time_unit=options.time_unit,
    )
    if relation.is_table:
        unique = [names for unique, names in relation.indexes.values() if unique]
        check_unique(options.table, options.keys, unique, quoted)
    if options.mode == "outbox":
        await _check_outbox(connection, options, shape, is_table=relation.is_table)
    if options.ordered:
        await _check_order(connection, options, shape)
        if shape.times and not relation.is_table and options.overlap == 0:  # a query has an overlap
            await check_selection(connection, options.table, relation.sql)
        # No index serves the first of several columns that is not NULL.
        leads = any(names[0] == shape.order_name for _, names in relation.indexes.values())
        if relation.is_table and not leads:
            suggest_index(options.table, options.order_columns, options.keys, named=True)
    return shape


async def _table(connection: MysqlConnection, options: TableSourceOptions) -> _Relation:
    *schemas, given = identifiers(options.table)
    place = (schemas[0] if schemas else connection.database, given)
    tables = await connection.fetch(_TABLE, place)
    found = await connection.fetch(_COLUMNS, place)
    if not tables or not found:
        raise SettingsError(f"table: there is no table {options.table!r}, or the account may not see it")
    relation = ".".join(map(quoted, place))
    checked = set[str]()
    if connection.on_mariadb and tables[0][0] != "VIEW":
        checked = checked_json(await _definition(connection, relation))
    columns = {
        name: Column(name, "json" if name in checked else type_, bool(nullable), bool(increments))
        for name, type_, nullable, increments, _ in found
    }
    indexes: dict[str, tuple[bool, list[str]]] = {}
    for name, repeated, column in await connection.fetch(_INDEXES, place):
        indexes.setdefault(name, (not repeated, []))[1].append(column)
    definition = (tables[0][2], *(tuple(row) for row in found))
    return _Relation(relation, columns, definition, is_table=tables[0][0] == "BASE TABLE", indexes=indexes)


async def _query(connection: MysqlConnection, options: TableSourceOptions) -> _Relation:
    columns = await query_columns(connection, options.query)
    return _Relation(
        relation_of(options.query),
        {column.name: column for column in columns},
        tuple((column.name, column.type) for column in columns),
        is_table=False,
        indexes={},
    )


async def _definition(connection: MysqlConnection, relation: str) -> str:
    """Return what made a table of MariaDB.

    A look at `information_schema.check_constraints` beside an ALTER TABLE has ended a server (10.11.19, SIGSEGV).
    """
    ((_, definition),) = await connection.fetch(f"SHOW CREATE TABLE {relation}")
    return str(definition)


def checked_json(definition: str) -> set[str]:
    """Return the columns of text that MariaDB checks to be JSON, which is how it stores this type."""
    return {name.replace("``", "`") for name in _JSON_CHECK.findall(definition) if name}


async def _lists_transactions(connection: MysqlConnection) -> bool:
    try:
        await connection.fetch(_TRANSACTIONS)
    except Unauthorized:
        return False
    return True


async def _check_outbox(
    connection: MysqlConnection, options: TableSourceOptions, shape: MysqlShape, *, is_table: bool
) -> None:
    if not is_table:
        raise SettingsError(f"table: {options.table} is not a table; an outbox is one, from which rows are removed")
    column = shape.published
    if column is not None and not column.integer and column.type not in {*_TIMES, "date"}:
        raise SettingsError(
            f"published_column: table {options.table}: column {column.name!r} is {column.type};"
            " expected timestamp, datetime, date or boolean"
        )
    ((standby,),) = await connection.fetch(STANDBY)
    if standby:
        raise SettingsError("url: this server is read-only, so published rows cannot be removed: set the primary")


def _check_times(options: TableSourceOptions, shape: MysqlShape) -> None:
    place = options.described
    for column in shape.times:
        if column.type == "float":
            raise SettingsError(
                f"updated_at_column: {place}: column {column.name!r} is float, which holds a time of today to"
                " within two minutes; make it double"
            )
        if column.type not in {*_TIMES, *_NUMBERS, "date"}:
            raise SettingsError(
                f"updated_at_column: {place}: column {column.name!r} is {column.type}; expected timestamp, datetime,"
                " date, or a number since 1970 as int, bigint or double"
            )
        number = column.type in _NUMBERS
        if number != (options.time_unit is not None):
            raise SettingsError(unit_error(options.described, column.name, column.type, number=number))
    if len({column.type for column in shape.times}) > 1:
        types = ", ".join(f"{column.name!r} is {column.type}" for column in shape.times)
        raise SettingsError(f"updated_at_column: {place}: {types}; expected columns of one type, whose values compare")


async def _check_order(connection: MysqlConnection, options: TableSourceOptions, shape: MysqlShape) -> None:
    order, place = shape.order, options.described
    _check_times(options, shape)
    if order.type == "datetime" and options.time_zone is None:
        raise SettingsError(
            f"time_zone: {place}: column {order.name!r} has no time zone;"
            " set `time_zone` to the zone of the applications that write it, such as UTC or Europe/Berlin"
        )
    if not shape.times and not order.integer:
        raise SettingsError(
            f"key: {place}: column {order.name!r} is {order.type}; set `updated_at_column`, or a key that is an"
            " integer and grows, or `mode: diff` for a small table"
        )
    if options.overlap > 0:
        return
    if not shape.times and not order.auto_increment:
        raise SettingsError(
            f"key: {place}: the values of column {order.name!r} are not from AUTO_INCREMENT, so a lower one may"
            " appear after a higher one: set `updated_at_column`, or `mode: diff` for a small table, or set `overlap`"
            " to the seconds between an application making a key and committing its row, if keys grow with time"
        )
    if not shape.lists_transactions:
        raise SettingsError(
            "overlap: the account may not list the open transactions: GRANT PROCESS ON *.* to it, or set `overlap` to"
            " the seconds that the longest transaction takes"
        )
    ((standby,),) = await connection.fetch(STANDBY)
    if standby:
        raise SettingsError(
            "url: this server is read-only, a replica that does not list the open transactions of its primary:"
            " set the primary, or set `overlap`"
        )
