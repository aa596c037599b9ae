"""The statements of a table on PostgreSQL, with every name quoted."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.system_api.sources.table.horizon import Order
from services.system_api.sources.table.ledger import Place

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_TIMES = {"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp"}

COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, NULL) AS type, a.attnotnull, c.relkind::text AS kind,
           EXISTS (
               SELECT FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum AND i.indisvalid AND i.indpred IS NULL
           ) AS indexed,
           CASE WHEN c.relkind IN ('r', 'p')
                THEN pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname) END AS sequence
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.oid = to_regclass($1)
    ORDER BY a.attnum
"""

RUNNING = """
    SELECT l.virtualtransaction
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock' AND l.pid <> pg_backend_pid()
      -- Those of other databases, and what never writes rows of its own, cannot hide anything from us. What the
      -- account may not see of a backend is NULL, and such a one counts.
      AND (a.pid IS NULL OR a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND coalesce(a.backend_type, '') NOT IN ('autovacuum worker', 'walsender')
"""

PREPARED = "SELECT 'p' || transaction::text FROM pg_prepared_xacts WHERE database = current_database()"

STANDING = """
    SELECT pg_is_in_recovery() AS standby, current_setting('max_prepared_transactions')::int > 0 AS two_phase
"""


def quoted(name: str) -> str:
    """Quote one identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(name: str) -> str:
    """Quote a table's name, with its schema where it has one."""
    return ".".join(quoted(part) for part in name.split("."))


@dataclass(frozen=True, slots=True)
class Shape:
    """What the catalogue says of the columns that matter."""

    table: str
    key: str
    key_type: str
    changed: str | None
    changed_type: str | None
    subject: str
    columns: tuple[str, ...] | None
    sequence: str | None
    """Where keys come from, quoted; None where it is not known."""
    complete: bool
    """Whether no row can be without a key or an order."""
    versioned: bool
    """Whether rows have an `xmin`: those of views have none."""

    @property
    def order(self) -> str:
        """The column that rows are ordered by."""
        return self.changed or self.key

    @property
    def order_type(self) -> str:
        """Its type, as a cast."""
        return _TIMES[self.changed_type] if self.changed_type is not None else "bigint"


def order_fault(column: str, type_: str, *, changed: bool) -> str | None:
    """Say why rows cannot be ordered by a column of this type; None if they can."""
    if changed:
        return None if type_ in _TIMES else f"column {column!r} is {type_}, expected timestamp or timestamptz"
    return None if type_ in _INTEGERS else f"column {column!r} is {type_}: give `changed`, or an integer key that grows"


def rows(
    shape: Shape, limit: int, place: Place | None, *, below: Order | None, emitted: Sequence[str]
) -> tuple[str, list[object]]:
    """Return the statement that reads rows in order, and its arguments.

    Rows above `place`; with `below`, those of a lower order than that alone; without the identities in `emitted`.
    """
    order, key, version = f"t.{quoted(shape.order)}", f"t.{quoted(shape.key)}", _version(shape)
    arguments: list[object] = []

    def argument(value: object, type_: str) -> str:
        arguments.append(value)
        return f"${len(arguments)}::{type_}"

    def order_argument(value: Order) -> str:
        # Times travel as the server counts them, a tuple of one: see `postgresql.connect`.
        return argument(value if shape.changed is None else (value,), shape.order_type)

    wanted = [f"{order} IS NOT NULL", f"{key} IS NOT NULL"]
    if place is not None and place.key is None:
        wanted.append(f"{order} >= {order_argument(place.order)}")
    elif place is not None and shape.changed is None:
        wanted.append(f"{order} > {order_argument(place.order)}")
    elif place is not None:
        placed = f"{order_argument(place.order)}, {argument(place.key, 'text')}::{shape.key_type}"
        wanted.append(f"({order}, {key}) > ({placed})")
    if below is not None:
        wanted.append(f"{order} < {order_argument(below)}")
    if emitted:
        wanted.append(f"({version} || ' ' || {key}::text) <> ALL ({argument(emitted, 'text[]')})")
    statement = f"""
        SELECT {order}::{shape.order_type}, {key}::text, {version}, t.{quoted(shape.subject)}::text, {_data(shape)}
        FROM {quoted_table(shape.table)} t
        WHERE {" AND ".join(wanted)}
        ORDER BY {", ".join(dict.fromkeys([order, key]))}
        LIMIT {argument(limit, "bigint")}
    """  # noqa: S608 -- every name is quoted
    return statement, arguments


def keyless(shape: Shape) -> str:
    """Return the statement that finds rows without a key or an order; $1 those known already, $2 limit."""
    order, key = f"t.{quoted(shape.order)}", f"t.{quoted(shape.key)}"
    return f"""
        SELECT md5(t::text), {_data(shape)}
        FROM {quoted_table(shape.table)} t
        WHERE ({order} IS NULL OR {key} IS NULL) AND md5(t::text) <> ALL ($1::text[])
        LIMIT $2::bigint
    """  # noqa: S608 -- every name is quoted


def bound(shape: Shape, time_zone: str) -> str:
    """Return the statement for a value that whatever is written by transactions that begin later stays above.

    Of keys it is the last one that the sequence gave.
    """
    if shape.changed is None and shape.sequence is None:
        return "SELECT NULL::bigint"
    if shape.changed is None:
        return f"SELECT last_value FROM {shape.sequence}"  # noqa: S608 -- quoted by the catalogue
    if shape.order_type == "timestamptz":
        return "SELECT statement_timestamp()"
    return f"SELECT statement_timestamp() AT TIME ZONE {literal(time_zone)}"


def literal(text: str) -> str:
    """Quote a string."""
    return "'" + text.replace("'", "''") + "'"


def _version(shape: Shape) -> str:
    # By key a row is emitted once, whatever becomes of it.
    if shape.changed is None:
        return "''"
    return "t.xmin::text" if shape.versioned else "''"


def _data(shape: Shape) -> str:
    row = "t"
    if shape.columns is not None:
        columns = ", ".join(f"t.{quoted(name)}" for name in shape.columns)
        row = f"(SELECT c FROM (SELECT {columns}) c)"  # noqa: S608 -- every name is quoted
    return f"convert_to(row_to_json({row})::text, 'UTF8')"
