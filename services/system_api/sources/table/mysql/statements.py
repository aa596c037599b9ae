"""The SQL statements for a table in MariaDB or MySQL. `%s` is an argument; names are quoted."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.system_api.sources.table.keys import decoded
from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.mysql.shape import MysqlShape
from services.system_api.sources.table.mysql.values import (
    Column,
    key_expression,
    key_rank,
    key_value,
    quoted,
    rank_value,
)
from services.system_api.sources.table.sql import coalesced
from services.system_api.sources.table.time_scale import float_of
from shared.events.dead_letter import KEPT_BYTES

_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 -- times of a column have no zone
_FIRST = "'1000-01-01'"
"""The first time that the database supports; zero dates are before it."""

AT_ONCE = 500
"""Keys in one statement."""
UTC_NOW = "TIMESTAMPDIFF(MICROSECOND, '2000-01-01', UTC_TIMESTAMP(6))"

# The server answers from a copy that it renews only when nobody has read it for 100 ms. The copy is new if it has this
# statement, with the mark in it, as that of this connection.
TRANSACTIONS = """
    SELECT /* {mark} */ trx_mysql_thread_id = CONNECTION_ID(), trx_mysql_thread_id, trx_id, trx_rows_modified > 0,
           trx_query
    FROM information_schema.innodb_trx
"""
STATEMENTS = """
    SELECT id FROM information_schema.processlist
    WHERE command IN ('Query', 'Execute') AND time >= 1 AND id <> CONNECTION_ID() AND user <> 'system user'
"""
"""Connections with a statement that began more than a second ago; it may still wait to become a transaction."""


def latest(shape: MysqlShape) -> str:
    """Return the statement for the server's clock in UTC, and for the latest time in a column without zone."""
    if shape.order.type != "datetime":
        return f"SELECT {UTC_NOW}, NULL"
    column = _order(shape)
    return f"""
        SELECT {UTC_NOW}, (
            SELECT TIMESTAMPDIFF(MICROSECOND, '2000-01-01', MAX({column})) FROM {shape.relation} t
            WHERE {column} < UTC_TIMESTAMP(6) + INTERVAL 1 DAY AND {column} >= {_FIRST}
        )
    """  # noqa: S608 -- every name is quoted


def positions(
    shape: MysqlShape, limit: int, position: Position[int] | None, below: int | None
) -> tuple[str, list[object]]:
    """Return the statement for rows above a position and below an order value, and its arguments.

    Each row: order value, the key's columns, size in bytes and hash.
    """
    arguments: list[object] = []
    conditions = _placed(shape)
    order = _order(shape)
    if position is not None:
        conditions.append(_above(shape, position, arguments))
    if below is not None:
        conditions.append(f"{order} < %s")
        arguments.append(_order_argument(shape, below))
    return _positions(shape, conditions, list(dict.fromkeys([order, *_ranks(shape)])), limit, arguments)


def count_between(shape: MysqlShape, since: int, until: int) -> tuple[str, list[object]]:
    """Return the statement that counts rows within two order values, the second excluded, and its arguments."""
    order = _order(shape)
    conditions = [*_placed(shape), f"{order} >= %s", f"{order} < %s"]
    statement = f"SELECT COUNT(*) FROM {shape.relation} t WHERE {' AND '.join(conditions)}"  # noqa: S608
    return statement, [_order_argument(shape, since), _order_argument(shape, until)]


def following(shape: MysqlShape, limit: int, key: str | None) -> tuple[str, list[object]]:
    """Return the statement for the rows after a key in the order of the keys, and its arguments: as `positions`."""
    arguments: list[object] = []
    conditions = _placed(shape)
    if key is not None:
        conditions.append(_after(_ranks(shape), _rank_arguments(shape, key), arguments))
    return _positions(shape, conditions, _ranks(shape), limit, arguments)


def places(shape: MysqlShape, keys: Sequence[str]) -> tuple[str, list[object]]:
    """Return the statement for rows with certain keys, and its arguments: as `positions`."""
    arguments: list[object] = []
    wanted = _wanted(shape, keys, arguments)
    return _positions(shape, [wanted], [_column(key) for key in shape.keys], len(keys), arguments)


def remaining(shape: MysqlShape, keys: Sequence[str]) -> tuple[str, list[object]]:
    """Return the statement for those of the rows with certain keys that are not published: as `places`."""
    arguments: list[object] = []
    conditions = [_wanted(shape, keys, arguments), *_not_published(shape)]
    return _positions(shape, conditions, [_column(key) for key in shape.keys], len(keys), arguments)


def unpublished(shape: MysqlShape, limit: int, *, skip_locked: bool) -> tuple[str, list[object]]:
    """Return the statement for the rows of an outbox that are not published, and its arguments: as `positions`."""
    conditions = [*_placed(shape), *_not_published(shape)]
    statement, arguments = _positions(shape, conditions, [_column(key) for key in shape.keys], limit, [])
    return f"{statement} FOR UPDATE SKIP LOCKED" if skip_locked else statement, arguments


def remove(shape: MysqlShape, keys: Sequence[str]) -> tuple[str, list[object]]:
    """Return the statement that removes rows of an outbox, and its arguments."""
    arguments: list[object] = []
    wanted = _wanted(shape, keys, arguments)
    if shape.published is None:
        return f"DELETE t FROM {shape.relation} t WHERE {wanted}", arguments
    value = "1" if shape.published.integer else "UTC_TIMESTAMP(6)"
    conditions = " AND ".join([wanted, *_not_published(shape)])
    return (
        f"UPDATE {shape.relation} t SET {_column(shape.published)} = {value} WHERE {conditions}",  # noqa: S608
        arguments,
    )


def contents(shape: MysqlShape, keys: Sequence[str], *, cut: bool) -> tuple[str, list[object]]:
    """Return the statement for rows with certain keys, and its arguments: the key's columns, subject and columns.

    With `cut`, only the beginning of each value.
    """
    arguments: list[object] = []
    wanted = _wanted(shape, keys, arguments)
    selected = [key_expression(key, _column(key)) for key in shape.keys]
    selected.append("NULL" if shape.subject is None else _cut(shape.subject, cut=cut))
    selected += [_cut(column, cut=cut) for column in shape.columns]
    return f"SELECT {', '.join(selected)} FROM {shape.relation} t WHERE {wanted}", arguments  # noqa: S608


def null_key_rows(shape: MysqlShape, limit: int) -> tuple[str, list[object]]:
    """Return the statement for rows without a key or order value: which is missing, hash and columns."""
    placed = _placed(shape)
    missing = [f"WHEN {_column(key)} IS NULL THEN {number}" for number, key in enumerate(shape.keys) if key.nullable]
    columns = ", ".join(_cut(column, cut=True) for column in shape.columns)
    which = f"CASE {' '.join(missing)} ELSE -1 END" if missing else "-1"
    statement = f"""
        SELECT {which}, {_digest(shape)}, {columns} FROM {shape.relation} t WHERE NOT ({" AND ".join(placed)})
           OR ({" AND ".join(placed)}) IS NULL LIMIT %s
    """  # noqa: S608 -- every name is quoted
    return statement, [limit]


def may_have_null_keys(shape: MysqlShape) -> bool:
    """Return whether a row may be without a key or order value."""
    return any(key.nullable for key in shape.keys) or (shape.way == "incremental" and bool(shape.times))


def _column(column: Column) -> str:
    return f"t.{quoted(column.name)}"


def _ranks(shape: MysqlShape) -> list[str]:
    """Return the expressions that the key is ordered by."""
    return [key_rank(key, _column(key)) for key in shape.keys]


def _order(shape: MysqlShape) -> str:
    """Return the expression that rows are ordered by."""
    return coalesced([_column(column) for column in shape.times or shape.keys[:1]])


def _cut(column: Column, *, cut: bool) -> str:
    expression = column.selected(_column(column))
    return f"LEFT({expression}, {KEPT_BYTES})" if cut and column.bounded else expression


def _wanted(shape: MysqlShape, keys: Sequence[str], arguments: list[object]) -> str:
    """Return the condition for rows with certain keys; add its arguments."""
    columns = [_column(key) for key in shape.keys]
    arguments += [value for key in keys for value in _key_arguments(shape, key)]
    if len(columns) == 1:
        return f"{columns[0]} IN ({', '.join('%s' for _ in keys)})"
    one = "(" + " AND ".join(f"{column} = %s" for column in columns) + ")"
    return "(" + " OR ".join(one for _ in keys) + ")"


def _not_published(shape: MysqlShape) -> list[str]:
    if shape.published is None:
        return []
    column = _column(shape.published)
    return [f"IFNULL({column}, 0) = 0" if shape.published.integer else f"{column} IS NULL"]


def _placed(shape: MysqlShape) -> list[str]:
    conditions = [f"{_column(key)} IS NOT NULL" for key in shape.keys if key.nullable]
    if shape.times:
        conditions.append(f"{_order(shape)} IS NOT NULL" if shape.time_unit else f"{_order(shape)} >= {_FIRST}")
    return conditions or ["1"]


def _positions(
    shape: MysqlShape, conditions: list[str], order_by: list[str], limit: int, arguments: list[object]
) -> tuple[str, list[object]]:
    order = value = _order(shape)
    if shape.times and shape.time_unit is None:
        unit = "DAY" if shape.order.type == "date" else "MICROSECOND"
        value = f"TIMESTAMPDIFF({unit}, '2000-01-01', {order})"
    keys = ", ".join(key_expression(key, _column(key)) for key in shape.keys)
    size = " + ".join(column.size(_column(column)) for column in shape.columns)
    overhead = sum(len(column.name) + 4 for column in shape.columns)
    hashed = shape.way != "incremental" or bool(shape.times)
    statement = f"""
        SELECT {value}, {keys}, {size} + {overhead}, {_digest(shape) if hashed else "''"}
        FROM {shape.relation} t
        WHERE {" AND ".join(conditions)}
        ORDER BY {", ".join(order_by)}
        LIMIT %s
    """  # noqa: S608 -- every name is quoted
    return statement, [*arguments, limit]


def _digest(shape: MysqlShape) -> str:
    columns = list(dict.fromkeys([*shape.columns, *([] if shape.subject is None else [shape.subject])]))
    values = [f"IFNULL(CONCAT('=', CAST({each.selected(_column(each))} AS BINARY)), '-')" for each in columns]
    return f"LEFT(SHA2(CONCAT_WS('|', {', '.join(values)}), 256), 24)"


def _above(shape: MysqlShape, position: Position[int], arguments: list[object]) -> str:
    order, value = _order(shape), _order_argument(shape, position.order)
    arguments.append(value)
    if position.key is None:
        return f"{order} >= %s"
    if not shape.times:
        return f"{order} > %s"
    # The first condition alone lets the server use the index.
    keys = [order, *_ranks(shape)]
    values = [value, *_rank_arguments(shape, position.key)]
    return f"{order} >= %s AND {_after(keys, values, arguments)}"


def _after(columns: Sequence[str], values: Sequence[object], arguments: list[object]) -> str:
    """Return the condition that columns are above values, without the row constructor that no index serves."""
    arguments.append(values[0])
    if len(columns) == 1:
        return f"{columns[0]} > %s"
    arguments.append(values[0])
    return f"({columns[0]} > %s OR ({columns[0]} = %s AND {_after(columns[1:], values[1:], arguments)}))"


def _order_argument(shape: MysqlShape, value: int) -> object:
    if not shape.times or shape.time_unit is not None:
        return float_of(value) if shape.order.type == "double" else value
    if shape.order.type == "date":
        return (_EPOCH + timedelta(days=value)).date().isoformat()
    return (_EPOCH + timedelta(microseconds=value)).isoformat(sep=" ", timespec="microseconds")


def _rank_arguments(shape: MysqlShape, key: str) -> list[object]:
    return [rank_value(column, text) for column, text in zip(shape.keys, decoded(key, len(shape.keys)), strict=True)]


def _key_arguments(shape: MysqlShape, key: str) -> list[object]:
    return [key_value(column, text) for column, text in zip(shape.keys, decoded(key, len(shape.keys)), strict=True)]
