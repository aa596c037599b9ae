"""The SQL statements for a table in PostgreSQL. Every identifier is quoted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.sql import quoted, quoted_table
from shared.events.dead_letter import KEPT_BYTES

COLUMNS = """
    SELECT a.attname AS name, a.attnotnull AS filled, c.relkind::text AS kind,
           format_type(y.oid, NULL) AS type,
           format_type(CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.oid END, NULL) AS beneath,
           format_type(a.atttypid, a.atttypmod) AS cast,
           i.leads, i.identifies, s.*
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type y ON y.oid = a.atttypid
    LEFT JOIN LATERAL (
        SELECT bool_or(x.indkey[0] = a.attnum) AS leads,
               bool_or(x.indkey[0] = a.attnum AND x.indisunique AND x.indnkeyatts = 1) AS identifies
        FROM pg_index x
        WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL
    ) i ON true
    LEFT JOIN LATERAL (
        SELECT q.seqrelid::regclass::text AS sequence, q.seqincrement AS increment, q.seqcache AS cache,
               q.seqcycle AS cycle, has_sequence_privilege(q.seqrelid, 'SELECT') AS readable
        FROM pg_sequence q
        WHERE q.seqrelid IN (
            SELECT d.objid
            FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
              AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
            UNION ALL
            SELECT d.refobjid
            FROM pg_attrdef f
            JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
            WHERE f.adrelid = c.oid AND f.adnum = a.attnum AND d.refclassid = 'pg_class'::regclass
        )
        LIMIT 1
    ) s ON true
    WHERE c.oid = to_regclass($1)
    ORDER BY a.attnum
"""

RUNNING = """
    SELECT l.virtualtransaction
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid()
      -- Transactions in other databases, and those that never write rows, are not waited for: autovacuum has no user,
      -- VACUUM cannot write rows, pg_dump only reads. Every account may read these columns.
      AND (a.pid IS NULL OR (
          a.usesysid IS NOT NULL
          AND a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND a.application_name IS DISTINCT FROM 'pg_dump'
      ))
      AND l.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
"""

PREPARED = "SELECT 'p' || transaction::text FROM pg_prepared_xacts WHERE database = current_database()"

SERVER = """
    SELECT pg_is_in_recovery() AS standby, current_setting('max_prepared_transactions')::int > 0 AS two_phase,
           current_setting('TimeZone') AS time_zone
"""


def literal(text: str) -> str:
    """Quote a string literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much one statement may read."""

    rows: int
    bytes: int
    """The row that exceeds this is the last one."""
    bytes_per_row: int
    """Maximum size of a row."""


class _Where:
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
        SELECT q.*, c.*, sum(c.kept) OVER (ORDER BY q.place, q.tie ROWS UNBOUNDED PRECEDING) - c.kept AS before
        FROM (
            SELECT {order}::{order_type} AS place, {key} AS tie, {key}::text AS key, {version} AS version,
                   {subject} AS subject, {data} AS data
            FROM {table} t
            WHERE {where}
            ORDER BY {order_by}
            LIMIT {limit}
        ) q CROSS JOIN LATERAL ({kept}) c
    ) s
    WHERE s.before < {max_bytes}
    ORDER BY s.place, s.tie
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
    order, key, version = f"t.{quoted(shape.order)}", f"t.{quoted(shape.key)}", _version(shape)
    where = _Where(f"t.{quoted(name)} IS NOT NULL" for name in shape.nullable)
    _add_range(where, shape, position, below)
    if emitted:
        where.add(f"({version} || ' ' || {key}::text) <> ALL ({where.argument(emitted, 'text[]')})")
    statement = _ROWS.format(
        order=order,
        order_type=shape.order_type,
        key=key,
        version=version,
        subject=f"t.{quoted(shape.subject)}::text" if with_data else "NULL::text",
        data=_data(shape) if with_data else "'{}'::bytea",
        table=quoted_table(shape.table),
        where=where,
        order_by=", ".join(dict.fromkeys([order, key])),
        limit=where.argument(limits.rows, "bigint"),
        kept=_kept("q.data", limits.bytes_per_row),
        max_bytes=where.argument(limits.bytes, "bigint"),
    )
    return statement, where.arguments


def _add_range(where: _Where, shape: Shape, position: Position[int] | None, below: int | None) -> None:
    """Add the conditions for rows above a position and below an order value."""
    order, key = f"t.{quoted(shape.order)}", f"t.{quoted(shape.key)}"

    def order_argument(value: int) -> str:
        # A time is passed as the server counts it, a tuple of one: see `connection.connect`.
        return where.argument(value if shape.updated_at_column is None else (value,), shape.order_type)

    if position is not None and position.key is None:
        where.add(f"{order} >= {order_argument(position.order)}")
    elif position is not None and shape.updated_at_column is None:
        where.add(f"{order} > {order_argument(position.order)}")
    elif position is not None:
        placed = f"{order_argument(position.order)}, {where.argument(position.key, 'text')}::{shape.key_cast}"
        where.add(f"({order}, {key}) > ({placed})")
    if below is not None:
        where.add(f"{order} < {order_argument(below)}")


def _kept(data: str, limit: int) -> str:
    """Return the subquery for the number of bytes kept of a row, and for the error if these are not all."""
    size = f"octet_length({data})"
    return f"""
        SELECT CASE WHEN {size} > {limit} THEN least({size}, {KEPT_BYTES}) ELSE {size} END AS kept,
               CASE WHEN {size} > {limit} THEN 'found a row of ' || {size} || ' bytes, the limit is {limit}' END AS
               error
    """


def data_of_one(shape: Shape, limit: int) -> str:
    """Return the statement for subject, data and error of the row with one key."""
    return f"""
        SELECT q.subject, substring(q.data FOR c.kept), c.error
        FROM (
            SELECT t.{quoted(shape.subject)}::text AS subject, {_data(shape)} AS data
            FROM {quoted_table(shape.table)} t
            WHERE t.{quoted(shape.key)} = $1::text::{shape.key_cast}
            LIMIT 1
        ) q CROSS JOIN LATERAL ({_kept("q.data", limit)}) c
    """  # noqa: S608 -- every name is quoted


def null_key_rows(shape: Shape) -> str:
    """Return the statement for rows with a NULL key or order value: $1 known digests, $2 limit.

    It returns a digest, the beginning of the row unless its digest is known, and an error.
    """
    missing = " OR ".join(f"t.{quoted(name)} IS NULL" for name in shape.nullable)
    error = " ".join(
        f"WHEN t.{quoted(name)} IS NULL THEN {literal(f'column {name!r} is NULL')}" for name in shape.nullable
    )
    return f"""
        SELECT k.digest,
               CASE WHEN k.digest = ANY ($1::text[]) THEN ''::bytea ELSE substring(k.data FOR {KEPT_BYTES}) END,
               k.error
        FROM (
            SELECT substr(encode(sha256(convert_to((t.*)::text, 'UTF8')), 'hex'), 1, 24) AS digest,
                   {_data(shape)} AS data, CASE {error} END AS error
            FROM {quoted_table(shape.table)} t
            WHERE {missing}
            LIMIT $2::bigint
        ) k
    """  # noqa: S608 -- every name is quoted


def bound(shape: Shape) -> str | None:
    """Return the statement for a lower bound of the order values that transactions which begin later will write.

    For keys it is the next value of the sequence; None if there is no sequence to ask.
    """
    if shape.updated_at_column is None:
        # The catalog has quoted the name.
        return None if shape.sequence is None else f"SELECT last_value + is_called::int FROM {shape.sequence}"  # noqa: S608
    if shape.order_type == "timestamptz":
        return "SELECT statement_timestamp()"
    return f"SELECT statement_timestamp() AT TIME ZONE {literal(shape.time_zone)}"


def _version(shape: Shape) -> str:
    # Ordered by key, a row is emitted once. Without an xmin, two states of a row differ in their time.
    if shape.updated_at_column is None:
        return "''"
    return "t.xmin::text" if shape.versioned else f"t.{quoted(shape.updated_at_column)}::text"


def _data(shape: Shape) -> str:
    # `t` or `c` alone would be a column of that name if there is one.
    row = "row_to_json(t.*)"
    if shape.columns is not None:
        columns = ", ".join(f"t.{quoted(name)}" for name in shape.columns)
        row = f"(SELECT row_to_json(c.*) FROM (SELECT {columns}) c)"  # noqa: S608 -- every name is quoted
    return f"convert_to({row}::text, 'UTF8')"
