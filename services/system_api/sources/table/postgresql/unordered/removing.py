"""The SQL statements for an outbox in PostgreSQL."""

from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.shape import PUBLISHED, Shape
from services.system_api.sources.table.sql import quoted


def rows(shape: Shape, limit: int, *, only: bool = False) -> str:
    """Return the statement for the rows that are not published: $1 known keys, $2 rows, $3 bytes.

    It returns key, subject, data (of a row that is larger than `limit` the beginning) and error. Rows that another
    session has locked are left out. `only`: for rows with certain keys, whose values are the arguments.
    """
    condition = f"{_wanted(shape)}" if only else f"{_unpublished(shape)} AND {statements.key_text(shape)} <> ALL ($1)"
    bounded = "" if only else "LIMIT $2::bigint FOR UPDATE SKIP LOCKED"
    before = "true" if only else "s.before < $3::bigint"
    order = ", ".join(f"q.tie{number}" for number in range(len(shape.keys)))
    ties = ", ".join(f"{column} AS tie{number}" for number, column in enumerate(shape.key_columns))
    return f"""
        SELECT s.key, s.subject, substring(s.data FOR s.kept), s.error
        FROM (
            SELECT q.*, c.*, sum(c.kept) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - c.kept AS before
            FROM (
                SELECT {ties}, {statements.key_text(shape)} AS key, {statements.subject(shape)} AS subject,
                       {statements.data(shape)} AS data
                FROM {shape.relation} t
                WHERE {condition}
                ORDER BY {", ".join(shape.key_columns)}
                {bounded}
            ) q CROSS JOIN LATERAL ({statements.kept("q.data", limit)}) c
        ) s
        WHERE {before}
        ORDER BY {order.replace("q.", "s.")}
    """  # noqa: S608 -- every name is quoted


def unpublished(shape: Shape) -> str:
    """Return the statement for the keys of the rows that are not published: $1 known keys, $2 rows."""
    key = statements.key_text(shape)
    return f"""
        SELECT {key} FROM {shape.relation} t
        WHERE {_unpublished(shape)} AND {key} <> ALL ($1)
        ORDER BY {", ".join(shape.key_columns)}
        LIMIT $2::bigint
    """  # noqa: S608 -- every name is quoted


def remove(shape: Shape) -> str:
    """Return the statement that removes rows: the arguments are the values of each column of the key."""
    if shape.published is None:
        return f"DELETE FROM {shape.relation} t WHERE {_wanted(shape)}"  # noqa: S608 -- every name is quoted
    value = PUBLISHED[str(shape.published_type)]
    return (
        f"UPDATE {shape.relation} t SET {quoted(shape.published)} = {value}"  # noqa: S608
        f" WHERE {_wanted(shape)} AND {_unpublished(shape)}"
    )


def existing(shape: Shape) -> str:
    """Return the statement for the keys of rows that are in the table: the arguments are as in `remove`."""
    return f"SELECT {statements.key_text(shape)} FROM {shape.relation} t WHERE {_wanted(shape)}"  # noqa: S608


def remaining(shape: Shape) -> str:
    """Return the statement for the keys of rows that are not published: the arguments are as in `remove`."""
    return f"{existing(shape)} AND {_unpublished(shape)}"


def _wanted(shape: Shape) -> str:
    values = ", ".join(f"${number}::text[]" for number in range(1, len(shape.keys) + 1))
    names = ", ".join(f"k{number}" for number in range(len(shape.keys)))
    wanted = ", ".join(f"w.k{number}::{key.cast}" for number, key in enumerate(shape.keys))
    return f"({', '.join(shape.key_columns)}) IN (SELECT {wanted} FROM unnest({values}) w ({names}))"  # noqa: S608


def _unpublished(shape: Shape) -> str:
    conditions = [f"{column} IS NOT NULL" for column in shape.nullable_columns]
    if shape.published is not None:
        column = f"t.{quoted(shape.published)}"
        conditions.append(f"{column} IS NOT true" if shape.published_type == "boolean" else f"{column} IS NULL")
    return " AND ".join(conditions) or "true"
