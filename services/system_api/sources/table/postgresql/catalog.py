"""Reads the shape of a table from the catalog and checks the settings against it."""

import logging

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.shape import Shape, order_error
from services.system_api.sources.table.sql import check_columns, quoted_table, suggest_index
from shared.errors import SettingsError

logger = logging.getLogger(__name__)

_TABLES = ("r", "p")
_OUT_OF_ORDER = {"m": "a materialized view", "f": "a foreign table"}
"""Relations whose rows appear on a refresh or on another server's commit, of which open transactions say nothing."""


async def shape_of(
    connection: asyncpg.Connection, options: TableSourceOptions, *, standby: bool, time_zone: str
) -> Shape:
    """Return the shape of the table; `time_zone` is the server's setting.

    Raises:
        SettingsError: the table cannot be read with these settings; the text names setting, table and column.
    """
    table = options.table
    found = await connection.fetch(statements.COLUMNS, quoted_table(table))
    if not found:
        raise SettingsError(f"table: there is no table {table!r}, or the account may not see it")
    _check_exactness(options, found[0]["kind"], standby=standby)
    columns = {row["name"]: row for row in found}
    check_columns(table, options.named_columns, list(columns))
    key, order = columns[options.key], columns[options.order_column]
    _check_order(options, order)
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
            "url: this server is a standby, which does not list the open transactions of its primary:"
            " set the primary, or set `updated_at_column` and `overlap`"
        )
    if kind in _OUT_OF_ORDER:
        raise SettingsError(
            f"table: {options.table} is {_OUT_OF_ORDER[kind]}, whose rows appear in any order:"
            " set the table that it reads, or set `updated_at_column` and `overlap`"
        )


def _check_order(options: TableSourceOptions, order: asyncpg.Record) -> None:
    by_time = options.updated_at_column is not None
    # A key may be of a domain: its base type counts.
    error = order_error(order["name"], order["type"] if by_time else order["beneath"], by_time=by_time)
    if error is not None:
        raise SettingsError(f"{'updated_at_column' if by_time else 'key'}: table {options.table}: {error}")


def _check_sequence(table: str, key: asyncpg.Record) -> None:
    sequence = key["sequence"]
    if sequence is None:
        return
    if key["cache"] > 1:
        raise SettingsError(
            f"key: table {table}: each session caches {key['cache']} keys, so keys do not grow with time:"
            f" ALTER SEQUENCE {sequence} CACHE 1 and reconnect those sessions, or set `updated_at_column`"
        )
    if key["increment"] != 1 or key["cycle"]:
        # Libraries with an increment of 50 assign the numbers in between themselves, later.
        raise SettingsError(
            f"key: table {table}: keys do not grow one by one, or applications allocate them in advance: ALTER SEQUENCE"
            f" {sequence} INCREMENT 1 NO CYCLE if nothing relies on its increment, or set `updated_at_column`"
        )


def _advise(options: TableSourceOptions, shape: Shape, order: asyncpg.Record, key: asyncpg.Record) -> None:
    table = options.table
    if order["kind"] in _TABLES and not order["leads"]:
        suggest_index(table, shape.order, shape.key)
    if order["kind"] in _TABLES and not key["identifies"]:
        logger.warning(
            "no unique index on the key column; a second row with the same key may be missed",
            extra={"component": "source", "table": table, "column": key["name"]},
        )
    if shape.order_type == "timestamp" and options.time_zone is None:
        logger.warning(
            "column has no time zone; using the server's, set time_zone to use another one",
            extra={"component": "source", "table": table, "column": shape.order, "time_zone": shape.time_zone},
        )
