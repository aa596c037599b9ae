"""The SQL statements for a table in PostgreSQL. Every identifier is quoted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.system_api.sources.table.keys import ESCAPES, SEPARATOR, decoded
from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.postgresql.bounds import literal
from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.sql import quoted
from services.system_api.sources.table.time_scale import float_of
from shared.events.dead_letter import KEPT_BYTES


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much one statement may read."""

    rows: int
    bytes: int
    """The row that exceeds this is the last one."""
    bytes_per_row: int
    """Maximum size of a row."""


class Where:
    """The conditions of a statement, and its arguments in the order of their numbers."""

    def __init__(self, conditions: Iterable[str]) -> None:
        self.arguments: list[object] = []
        self._conditions = list(conditions)

    def add(self, condition: str) -> None:
        self._conditions.append(condition)

    def argument(self, value: object, type_: str) -> str:
        """Add an argument; return its placeholder."""
        self.arguments.append(value)
        return f"${len(self.arguments)}::{type_}"

    def __str__(self) -> str:
        return " AND ".join(self._conditions) or "true"


# The server adds up the sizes: the client cannot know the size of rows that have not been sent.
_ROWS = """
    SELECT s.place, s.key, s.version, s.subject, substring(s.data FOR s.kept), s.error
    FROM (
        SELECT q.*, c.*, sum(c.kept) OVER (ORDER BY q.place, {ties} ROWS UNBOUNDED PRECEDING) - c.kept AS before
        FROM (
            SELECT {order}::{order_type} AS place, {tie_columns}, {key} AS key, {version} AS version,
                   {subject} AS subject, {data} AS data
            FROM {relation} t
            WHERE {where}
            ORDER BY {order_by}
            LIMIT {limit}
        ) q CROSS JOIN LATERAL ({kept}) c
    ) s
    WHERE s.before < {max_bytes}
    ORDER BY s.place, {last_ties}
"""


def rows(
    shape: Shape,
    limits: ReadLimits,
    position: Position[int] | None,
    *,
    below: int | None,
    emitted: Sequence[str],
    with_data: bool = True,
) -> tuple[str, list[object]]:
    """Return the statement that reads rows in order, and its arguments.

    It reads the rows above `position`, only those of an order value lower than `below`, without the identities in
    `emitted`. Of a row that is too large it returns the beginning and an error. Without data, it evaluates nothing of a
    row but its position: the data is an empty object, the subject NULL.
    """
    key, version, columns = key_text(shape), _version(shape), shape.key_columns
    where = Where(f"{column} IS NOT NULL" for column in shape.nullable_columns)
    _add_range(where, shape, position, below)
    if emitted:
        where.add(f"({version} || ' ' || {key}) <> ALL ({where.argument(emitted, 'text[]')})")
    statement = _ROWS.format(
        order=shape.order,
        order_type=shape.order_type,
        ties=", ".join(f"q.tie{number}" for number in range(len(columns))),
        tie_columns=", ".join(f"{column} AS tie{number}" for number, column in enumerate(columns)),
        last_ties=", ".join(f"s.tie{number}" for number in range(len(columns))),
        key=key,
        version=version,
        subject=subject(shape) if with_data else "NULL::text",
        data=data(shape) if with_data else "'{}'::bytea",
        relation=shape.relation,
        where=where,
        order_by=", ".join(dict.fromkeys([shape.order, *columns])),
        limit=where.argument(limits.rows, "bigint"),
        kept=kept("q.data", limits.bytes_per_row),
        max_bytes=where.argument(limits.bytes, "bigint"),
    )
    return statement, where.arguments


_FOLLOWING = """
    SELECT s.key, s.version, s.subject, substring(s.data FOR s.kept), s.error
    FROM (
        SELECT q.*, c.*, sum(c.kept) OVER (ORDER BY {ties} ROWS UNBOUNDED PRECEDING) - c.kept AS before
        FROM (
            SELECT {tie_columns}, {key} AS key, t.xmin::text AS version, {subject} AS subject, {data} AS data
            FROM {relation} t
            WHERE {where}
            ORDER BY {order_by}
            LIMIT {limit}
        ) q CROSS JOIN LATERAL ({kept}) c
    ) s
    WHERE s.before < {max_bytes}
    ORDER BY {last_ties}
"""


def following(
    shape: Shape, limits: ReadLimits, after: str | None, *, with_data: bool, condition: str | None = None
) -> tuple[str, list[object]]:
    """Return the statement that reads rows in the order of their keys, after a key, and its arguments.

    With the transaction that wrote each row as its version; otherwise as `rows`. `condition` is one more, in SQL.
    """
    columns = shape.key_columns
    where = Where(f"{column} IS NOT NULL" for column in shape.nullable_columns)
    if condition is not None:
        where.add(f"({condition})")
    if after is not None:
        where.add(f"({', '.join(columns)}) > ({', '.join(key_arguments(where, shape, after))})")
    statement = _FOLLOWING.format(
        ties=", ".join(f"q.tie{number}" for number in range(len(columns))),
        tie_columns=", ".join(f"{column} AS tie{number}" for number, column in enumerate(columns)),
        last_ties=", ".join(f"s.tie{number}" for number in range(len(columns))),
        key=key_text(shape),
        subject=subject(shape) if with_data else "NULL::text",
        data=data(shape) if with_data else "'{}'::bytea",
        relation=shape.relation,
        where=where,
        order_by=", ".join(columns),
        limit=where.argument(limits.rows, "bigint"),
        kept=kept("q.data", limits.bytes_per_row),
        max_bytes=where.argument(limits.bytes, "bigint"),
    )
    return statement, where.arguments


def key_text(shape: Shape) -> str:
    """Return the expression for the key as one text; see `keys`."""
    columns = [f"{column}::text" for column in shape.key_columns]
    if len(columns) == 1:
        return columns[0]
    for character, escape in ESCAPES:
        columns = [f"replace({column}, {literal(character)}, {literal(escape)})" for column in columns]
    return "(" + f" || {literal(SEPARATOR)} || ".join(columns) + ")"


def _add_range(where: Where, shape: Shape, position: Position[int] | None, below: int | None) -> None:
    """Add the conditions for rows above a position and below an order value."""
    order = shape.order

    def order_argument(value: int) -> str:
        return where.argument(order_value(shape, value), shape.order_type)

    if position is not None and position.key is None:
        where.add(f"{order} >= {order_argument(position.order)}")
    elif position is not None and not shape.by_time:
        where.add(f"{order} > {order_argument(position.order)}")
    elif position is not None and position.key is not None:
        placed = [order_argument(position.order), *key_arguments(where, shape, position.key)]
        where.add(f"({', '.join([order, *shape.key_columns])}) > ({', '.join(placed)})")
    if below is not None:
        where.add(f"{order} < {order_argument(below)}")


def order_value(shape: Shape, order: int) -> object:
    """Return an order value as an argument of the type of the order column."""
    if shape.order_type == "float8":
        return float_of(order)
    return (order,) if shape.in_tuples else order


def key_arguments(where: Where, shape: Shape, key: str) -> list[str]:
    values = decoded(key, len(shape.keys))
    return [f"{where.argument(value, 'text')}::{column.cast}" for value, column in zip(values, shape.keys, strict=True)]


def kept(data: str, limit: int) -> str:
    """Return the subquery for the number of bytes kept of a row, and for the error if these are not all."""
    size = f"octet_length({data})"
    return f"""
        SELECT CASE WHEN {size} > {limit} THEN least({size}, {KEPT_BYTES}) ELSE {size} END AS kept,
               CASE WHEN {size} > {limit} THEN 'found a row of ' || {size} || ' bytes, the limit is {limit}' END AS
               error
    """


def data_of_one(shape: Shape, limit: int, key: str) -> tuple[str, list[object]]:
    """Return the statement for subject, data and error of the row with one key, and its arguments."""
    where = Where(())
    for column, argument in zip(shape.key_columns, key_arguments(where, shape, key), strict=True):
        where.add(f"{column} = {argument}")
    statement = f"""
        SELECT q.subject, substring(q.data FOR c.kept), c.error
        FROM (
            SELECT {subject(shape)} AS subject, {data(shape)} AS data
            FROM {shape.relation} t
            WHERE {where}
            LIMIT 1
        ) q CROSS JOIN LATERAL ({kept("q.data", limit)}) c
    """  # noqa: S608 -- every name is quoted
    return statement, where.arguments


def order_at(shape: Shape) -> str:
    """Return the statement for a time as the table's times show it: $1 in ISO 8601, the result in microseconds."""
    zone = f" AT TIME ZONE {literal(shape.time_zone or 'UTC')}" if shape.local else ""
    return f"SELECT $1::text::timestamptz{zone}"


def count_between(shape: Shape, since: int, until: int) -> tuple[str, list[object]]:
    """Return the statement that counts rows within two order values, the second excluded, and its arguments."""
    where = Where(f"{column} IS NOT NULL" for column in shape.nullable_columns)
    _add_range(where, shape, Position(since, None), until)
    return f"SELECT count(*) FROM {shape.relation} t WHERE {where}", where.arguments  # noqa: S608 -- names are quoted


def null_key_rows(shape: Shape) -> str:
    """Return the statement for rows with a NULL key or order value: $1 known digests, $2 limit.

    It returns a digest, the beginning of the row unless its digest is known, and an error.
    """
    named = list(zip(shape.nullable_columns, shape.nullable_names, strict=True))
    missing = " OR ".join(f"{column} IS NULL" for column, _ in named)
    error = " ".join(f"WHEN {column} IS NULL THEN {literal(f'column {name!r} is NULL')}" for column, name in named)
    return f"""
        SELECT k.digest,
               CASE WHEN k.digest = ANY ($1::text[]) THEN ''::bytea ELSE substring(k.data FOR {KEPT_BYTES}) END,
               k.error
        FROM (
            SELECT substr(encode(sha256(convert_to((t.*)::text, 'UTF8')), 'hex'), 1, 24) AS digest,
                   {data(shape)} AS data, CASE {error} END AS error
            FROM {shape.relation} t
            WHERE {missing}
            LIMIT $2::bigint
        ) k
    """  # noqa: S608 -- every name is quoted


def _version(shape: Shape) -> str:
    # Ordered by key, a row is emitted once. Without an xmin, two states of a row differ in their time.
    if not shape.by_time:
        return "''"
    return "t.xmin::text" if shape.versioned else f"{shape.order}::text"


def subject(shape: Shape) -> str:
    return key_text(shape) if shape.subject is None else f"t.{quoted(shape.subject)}::text"


def data(shape: Shape) -> str:
    # `t` or `c` alone would be a column of that name if there is one.
    row = "row_to_json(t.*)"
    if shape.columns is not None:
        columns = ", ".join(f"t.{quoted(name)}" for name in shape.columns)
        row = f"(SELECT row_to_json(c.*) FROM (SELECT {columns}) c)"  # noqa: S608 -- every name is quoted
    return f"convert_to({row}::text, 'UTF8')"
