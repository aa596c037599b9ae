"""The SQL statements that observe a table: what transactions that begin later will write, and which are open now.

The state is read before the transactions are listed, and the rows after that; see `horizon`.
"""

from services.system_api.sources.table.postgresql.shape import Shape
from services.system_api.sources.table.sql import quoted_table

_FALL_BACK = 180
"""Minutes by which a zone's clocks are set back at most: two hours in double summer time, one hour now."""

_REACHED = """
    CASE WHEN pg_is_in_recovery()
        THEN least(statement_timestamp(), coalesce(pg_last_xact_replay_timestamp(), '2000-01-01 00:00+00'))
        ELSE statement_timestamp()
    END
"""
"""The time up to which the server has everything: a standby has it up to the last commit that it has replayed."""

_IDENTITY = """
    SELECT concat_ws(' ', c.oid, (
        SELECT string_agg(concat_ws(' ', a.attnum, a.atttypid, a.atttypmod, a.attnotnull, f.xmin), ','
                          ORDER BY a.attnum)
        FROM pg_attribute a LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
        WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname = ANY (ARRAY[{columns}]::name[])
    ), (
        SELECT string_agg(concat_ws(' ', r.oid, r.xmin), ',' ORDER BY r.oid) FROM pg_rewrite r WHERE r.ev_class = c.oid
    ))
    FROM pg_class c WHERE c.oid = to_regclass({table})
"""
"""What differs when another table has the name, or a column that matters, or a view, another definition."""

_RUNNING = """
    SELECT l.virtualtransaction AS id, a.pid, a.usename AS user, a.xact_start AS began
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.granted AND l.pid <> pg_backend_pid() AND {condition}
"""

_EVERY = """
    l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock'
      -- Transactions in other databases, and those that never write rows, are not waited for: autovacuum has no user,
      -- VACUUM cannot write rows, pg_dump only reads. Every account may read these columns.
      AND (a.pid IS NULL OR (
          a.usesysid IS NOT NULL
          AND a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND a.application_name IS DISTINCT FROM 'pg_dump'
      ))
      AND l.pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
"""

# A session locks a sequence before it takes a value from it, and until its transaction ends.
_USERS = """
    l.locktype = 'relation' AND l.relation = {sequence} AND l.mode <> 'AccessShareLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

PREPARED = "SELECT 'p' || transaction::text FROM pg_prepared_xacts WHERE database = current_database()"


def literal(text: str) -> str:
    """Quote a string literal."""
    return "'" + text.replace("'", "''") + "'"


def running(shape: Shape) -> str:
    """Return the statement for the open transactions that may have written a row which is not visible.

    Their virtual ids; and process, user and beginning, each NULL if the account may not see it.
    """
    if shape.by_time or shape.sequence is None:
        return _RUNNING.format(condition=_EVERY)
    return _RUNNING.format(condition=_USERS.format(sequence=shape.sequence.oid))


def state(shape: Shape, margin: float) -> str:
    """Return the statement for one row: `bound`, `clock`, `identity` and `pid`.

    `bound` is below the order values that transactions which begin later will write: for keys the next value of the
    sequence, NULL if there is none to ask; for times the server's clock less `margin` seconds, as a timestamp, and on a
    standby the time of what it has replayed. `clock` is the server's without the margin. For times without a zone,
    `utc` is the clock in UTC, and `latest` the latest time in the column.
    """
    relation = more = ""
    if shape.by_time:
        bound = moment(shape, f"({_REACHED}) - interval '{margin:f} s'")
        clock = moment(shape, "statement_timestamp()")
    elif shape.sequence is not None and shape.sequence.readable:
        bound = clock = "s.last_value + s.is_called::int"
        relation = f"FROM {shape.sequence.name} s"  # the catalog has quoted the name
    else:
        bound = clock = "NULL::bigint"
    if shape.order_type == "timestamp":
        # Times that are further ahead are no clock's.
        more = f"""
            , statement_timestamp() AT TIME ZONE 'UTC' AS utc
            , (SELECT max({shape.order}) FROM {shape.relation} t
               WHERE {shape.order} < statement_timestamp() AT TIME ZONE 'UTC' + interval '1 day') AS latest
        """  # noqa: S608 -- every name is quoted
    return f"""
        SELECT {bound} AS bound, {clock} AS clock, ({identity(shape)}) AS identity, pg_backend_pid() AS pid {more}
        {relation}
    """


def identity(shape: Shape) -> str:
    """Return the query for what identifies the table and the definition of the columns that matter."""
    if not shape.named:
        return "SELECT 'query'"  # the server refuses a prepared statement whose columns have other types now
    columns = [key.name for key in shape.keys]
    columns += [*shape.times, *([] if shape.subject is None else [shape.subject])]
    return _IDENTITY.format(columns=", ".join(map(literal, columns)), table=literal(quoted_table(shape.table)))


def moment(shape: Shape, instant: str) -> str:
    """Return the expression for an instant as the table's times show it, as a timestamp.

    In a zone whose clocks are set back soon, that is the lowest time that they show from the instant on.
    """
    if not shape.local:
        return instant
    zone = literal(shape.time_zone or "UTC")
    return f"""
        least(({instant}) AT TIME ZONE {zone}, (
            SELECT min((date_trunc('minute', {instant}) + g * interval '1 minute') AT TIME ZONE {zone})
            FROM generate_series(1, {_FALL_BACK}) g
        ))
    """  # noqa: S608 -- every name is quoted
