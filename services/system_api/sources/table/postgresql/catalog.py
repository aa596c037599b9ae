"""What the catalogue says of a table, checked against what the settings say."""

import logging

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.statements import Shape
from services.system_api.sources.table.sql import no_column, quoted_table, suggest_index
from shared.errors import SettingsError

logger = logging.getLogger(__name__)

_TABLES = ("r", "p")
_OUT_OF_ORDER = {"m": "a materialized view", "f": "a foreign table"}
"""What open transactions say nothing of: rows turn up when somebody refreshes it, or another server commits."""


async def shape_of(
    connection: asyncpg.Connection, options: TableSourceOptions, *, standby: bool, time_zone: str
) -> Shape:
    """Look the table up, and check the settings against it; `time_zone` is the server's.

    Raises:
        SettingsError: names the setting, the table and what it has.
    """
    table = options.table
    found = await connection.fetch(statements.COLUMNS, quoted_table(table))
    if not found:
        raise SettingsError(f"table: there is no table {table!r}, or the account may not see it")
    _check_exactness(options, found[0]["kind"], standby=standby)
    columns = {row["name"]: row for row in found}
    names = {"key": options.key, "updated_at_column": options.updated_at_column, "subject": options.subject}
    for setting, column in [*names.items(), *(("columns", column) for column in options.columns or ())]:
        if column is not None and column not in columns:
            raise SettingsError(f"{setting}: {no_column(table, column, list(columns))}")
    key, order = columns[options.key], columns[options.updated_at_column or options.key]
    type_ = order["beneath"] if options.updated_at_column is None else order["type"]
    error = statements.order_error(order["name"], type_, by_time=options.updated_at_column is not None)
    if error is not None:
        raise SettingsError(
            f"{'key' if options.updated_at_column is None else 'updated_at_column'}: table {table}: {error}"
        )
    if options.updated_at_column is None:
        _check_sequence(table, key)
    shape = Shape(
        table=table,
        key=options.key,
        key_cast=key["cast"],
        updated_at_column=options.updated_at_column,
        updated_at_type=None if options.updated_at_column is None else order["type"],
        time_zone=options.time_zone or time_zone,
        subject=options.subject or options.key,
        columns=options.columns,
        sequence=key["sequence"] if key["readable"] else None,
        nullable=tuple(dict.fromkeys(row["name"] for row in (order, key) if not row["filled"])),
        versioned=key["kind"] in _TABLES,
    )
    _advise(options, shape, order, key)
    return shape


def _check_exactness(options: TableSourceOptions, kind: str, *, standby: bool) -> None:
    if options.updated_at_column is not None and options.overlap > 0:
        return
    if standby:
        raise SettingsError(
            "url: this server is a standby, which does not know the open transactions of its primary:"
            " name the primary, or set `updated_at_column` and `overlap`"
        )
    if kind in _OUT_OF_ORDER:
        raise SettingsError(
            f"table: {options.table} is {_OUT_OF_ORDER[kind]}, whose rows turn up in no order:"
            " name the table it reads, or set `updated_at_column` and `overlap`"
        )


def _check_sequence(table: str, key: asyncpg.Record) -> None:
    sequence = key["sequence"]
    if sequence is None:
        return
    if key["cache"] > 1:
        raise SettingsError(
            f"key: table {table}: each session takes {key['cache']} keys ahead, so that they do not grow:"
            f" ALTER SEQUENCE {sequence} CACHE 1, then let those sessions connect anew, or set `updated_at_column`"
        )
    if key["increment"] != 1 or key["cycle"]:
        # Steps of 50 are the mark of libraries that hand out the numbers between by themselves, later.
        raise SettingsError(
            f"key: table {table}: keys do not grow one by one, or are taken ahead by applications: ALTER SEQUENCE"
            f" {sequence} INCREMENT 1 NO CYCLE where nothing relies on its steps, or set `updated_at_column`"
        )


def _advise(options: TableSourceOptions, shape: Shape, order: asyncpg.Record, key: asyncpg.Record) -> None:
    table = options.table
    if order["kind"] in _TABLES and not order["leads"]:
        suggest_index(table, shape.order, shape.key)
    if order["kind"] in _TABLES and not key["identifies"]:
        logger.warning("table %s: nothing keeps two rows from having the same %r, and one may be missed", table, key[0])
    if shape.order_type == "timestamp" and options.time_zone is None:
        logger.warning(
            "table %s: column %r is without time zone, and is taken for %s, the server's: `time_zone` says otherwise",
            table,
            shape.order,
            shape.time_zone,
        )
