"""The statements of a table on PostgreSQL, with every name quoted."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.sql import quoted, quoted_table
from shared.events.dead_letter import KEPT_BYTES

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_TIMES = {"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp"}

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
      -- Those of other databases, and what never writes rows, cannot hide anything from us: autovacuum is no user,
      -- VACUUM is no transaction that could go on to write, pg_dump reads. These columns are shown to every account.
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
    """Quote a string."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Shape:
    """What the catalogue says of the columns that matter."""

    table: str
    key: str
    key_cast: str
    """The key's type, as a cast."""
    updated_at_column: str | None
    updated_at_type: str | None
    time_zone: str
    """Of `updated_at_column`, where that is without one."""
    subject: str
    columns: tuple[str, ...] | None
    sequence: str | None
    """Where keys come from, quoted; None where that is not known, or not to be read."""
    nullable: tuple[str, ...]
    """Those of order and key that may be NULL."""
    versioned: bool
    """Whether rows have an `xmin`: those of views have none."""

    @property
    def order(self) -> str:
        """The column that rows are ordered by."""
        return self.updated_at_column or self.key

    @property
    def order_type(self) -> str:
        """Its type, as a cast."""
        return _TIMES[self.updated_at_type] if self.updated_at_type is not None else "bigint"

    @property
    def mode(self) -> str:
        """What a checkpoint cannot be carried over."""
        return f"by {self.order} ({self.order_type})"


def order_error(column: str, type_: str, *, by_time: bool) -> str | None:
    """Say why rows cannot be ordered by a column of this type; None if they can."""
    if by_time:
        return None if type_ in _TIMES else f"column {column!r} is {type_}, expected timestamp or timestamptz"
    return (
        None
        if type_ in _INTEGERS
        else f"column {column!r} is {type_}: give `updated_at_column`, or an integer key that grows"
    )


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How much may be read at once."""

    rows: int
    bytes: int
    """The row that exceeds this is the last one."""
    of_row: int
    """Bytes of the largest row."""


def rows(
    shape: Shape,
    limits: ReadLimits,
    place: Position[int] | None,
    *,
    below: int | None,
    emitted: Sequence[str],
    with_data: bool = True,
) -> tuple[str, list[object]]:
    """Return the statement that reads rows in order, and its arguments.

    Rows above `place`; with `below`, those of a lower order than that alone; without the identities in `emitted`.
    Of a row that is too large it gives the beginning, and says so. Without data, nothing of a row is looked at but its
    place: an empty object stands for its data, and it has no subject.
    """
    data, subject = (_data(shape), f"t.{quoted(shape.subject)}::text") if with_data else ("'{}'::bytea", "NULL::text")
    order, key, version = f"t.{quoted(shape.order)}", f"t.{quoted(shape.key)}", _version(shape)
    arguments: list[object] = []

    def argument(value: object, type_: str) -> str:
        arguments.append(value)
        return f"${len(arguments)}::{type_}"

    def order_argument(value: int) -> str:
        # Times travel as the server counts them, a tuple of one: see `connecting.connect`.
        return argument(value if shape.updated_at_column is None else (value,), shape.order_type)

    wanted = [f"t.{quoted(name)} IS NOT NULL" for name in shape.nullable]
    if place is not None and place.key is None:
        wanted.append(f"{order} >= {order_argument(place.order)}")
    elif place is not None and shape.updated_at_column is None:
        wanted.append(f"{order} > {order_argument(place.order)}")
    elif place is not None:
        placed = f"{order_argument(place.order)}, {argument(place.key, 'text')}::{shape.key_cast}"
        wanted.append(f"({order}, {key}) > ({placed})")
    if below is not None:
        wanted.append(f"{order} < {order_argument(below)}")
    if emitted:
        wanted.append(f"({version} || ' ' || {key}::text) <> ALL ({argument(emitted, 'text[]')})")
    # The server counts the bytes, for nobody here can tell how large rows are that have not come.
    statement = f"""
        SELECT s.place, s.key, s.version, s.subject, substring(s.data FOR s.kept), s.fault
        FROM (
            SELECT q.*, c.*, sum(c.kept) OVER (ORDER BY q.place, q.tie ROWS UNBOUNDED PRECEDING) - c.kept AS before
            FROM (
                SELECT {order}::{shape.order_type} AS place, {key} AS tie, {key}::text AS key, {version} AS version,
                       {subject} AS subject, {data} AS data
                FROM {quoted_table(shape.table)} t
                WHERE {" AND ".join(wanted) or "true"}
                ORDER BY {", ".join(dict.fromkeys([order, key]))}
                LIMIT {argument(limits.rows, "bigint")}
            ) q CROSS JOIN LATERAL ({_kept("q.data", limits.of_row)}) c
        ) s
        WHERE s.before < {argument(limits.bytes, "bigint")}
        ORDER BY s.place, s.tie
    """  # noqa: S608 -- every name is quoted
    return statement, arguments


def _kept(data: str, limit: int) -> str:
    """Return what tells how many bytes of a row are kept, and why not all."""
    size = f"octet_length({data})"
    return f"""
        SELECT CASE WHEN {size} > {limit} THEN least({size}, {KEPT_BYTES}) ELSE {size} END AS kept,
               CASE WHEN {size} > {limit} THEN 'a row of ' || {size} || ' bytes, the limit is {limit}' END AS fault
    """


def data_of_one(shape: Shape, limit: int) -> str:
    """Return the statement for subject, data and fault of the row of one key."""
    return f"""
        SELECT q.subject, substring(q.data FOR c.kept), c.fault
        FROM (
            SELECT t.{quoted(shape.subject)}::text AS subject, {_data(shape)} AS data
            FROM {quoted_table(shape.table)} t
            WHERE t.{quoted(shape.key)} = $1::text::{shape.key_cast}
            LIMIT 1
        ) q CROSS JOIN LATERAL ({_kept("q.data", limit)}) c
    """  # noqa: S608 -- every name is quoted


def null_key_rows(shape: Shape) -> str:
    """Return the statement that finds rows without a key or an order: $1 digests whose rows are known, $2 limit.

    It gives a digest, the beginning of the row unless it is known, and what it lacks.
    """
    missing = " OR ".join(f"t.{quoted(name)} IS NULL" for name in shape.nullable)
    error = " ".join(
        f"WHEN t.{quoted(name)} IS NULL THEN {literal(f'column {name!r} is NULL')}" for name in shape.nullable
    )
    return f"""
        SELECT k.digest,
               CASE WHEN k.digest = ANY ($1::text[]) THEN ''::bytea ELSE substring(k.data FOR {KEPT_BYTES}) END,
               k.fault
        FROM (
            SELECT substr(encode(sha256(convert_to((t.*)::text, 'UTF8')), 'hex'), 1, 24) AS digest,
                   {_data(shape)} AS data, CASE {error} END AS fault
            FROM {quoted_table(shape.table)} t
            WHERE {missing}
            LIMIT $2::bigint
        ) k
    """  # noqa: S608 -- every name is quoted


def bound(shape: Shape) -> str | None:
    """Return the statement for a value that whatever is written by transactions that begin later is not below.

    Of keys it is the next one that the sequence gives; None where there is no sequence to ask.
    """
    if shape.updated_at_column is None:
        # What it names is quoted by the catalogue.
        return None if shape.sequence is None else f"SELECT last_value + is_called::int FROM {shape.sequence}"  # noqa: S608
    if shape.order_type == "timestamptz":
        return "SELECT statement_timestamp()"
    return f"SELECT statement_timestamp() AT TIME ZONE {literal(shape.time_zone)}"


def _version(shape: Shape) -> str:
    # By key a row is emitted once, whatever becomes of it. Where there is no xmin, two states of a row differ in time.
    if shape.updated_at_column is None:
        return "''"
    return "t.xmin::text" if shape.versioned else f"t.{quoted(shape.updated_at_column)}::text"


def _data(shape: Shape) -> str:
    # `t` and `c` alone would mean columns of these names where there are some.
    row = "row_to_json(t.*)"
    if shape.columns is not None:
        columns = ", ".join(f"t.{quoted(name)}" for name in shape.columns)
        row = f"(SELECT row_to_json(c.*) FROM (SELECT {columns}) c)"  # noqa: S608 -- every name is quoted
    return f"convert_to({row}::text, 'UTF8')"
