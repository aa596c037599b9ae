"""The SQL statements that compare the rows of a table in PostgreSQL."""

import hashlib
from collections.abc import Callable
from typing import Any

from services.system_api.sources.table.diff.deletions import verbatim
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.shape import Shape

_DIGEST = "encode(substr(sha256({data} || convert_to(coalesce({subject}, ''), 'UTF8')), 1, 12), 'hex')"
_VERBATIM = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean"})
"""Types whose text is their JSON."""
_UTC = "+00"


def as_json(type_: str) -> Callable[[str], Any]:
    """Return what makes of the text of a key what `row_to_json` makes of its value; `type_` is no domain."""
    if type_ in _VERBATIM:
        return verbatim
    if type_ == "timestamp without time zone":
        return _local
    return _instant if type_ == "timestamp with time zone" else str


def _local(text: str) -> str:
    return text.replace(" ", "T", 1)


def _instant(text: str) -> str:
    # The zone of the session is UTC. Infinity has none.
    return _local(text).replace(_UTC, f"{_UTC}:00", 1)


def hashes(shape: Shape, after: str | None, limit: int, *, with_data: bool) -> tuple[str, list[object]]:
    """Return the statement for keys and hashes of the rows that follow a key, and its arguments.

    Without data, it evaluates nothing of a row but its key, and the hash is empty.
    """
    where = statements.Where(f"{column} IS NOT NULL" for column in shape.nullable_columns)
    keys = ", ".join(shape.key_columns)
    if after is not None:
        where.add(f"({keys}) > ({', '.join(statements.key_arguments(where, shape, after))})")
    digest = _digest(shape) if with_data else "''"
    statement = f"""
        SELECT {statements.key_text(shape)}, {digest}
        FROM {shape.relation} t
        WHERE {where}
        ORDER BY {keys}
        LIMIT {where.argument(limit, "bigint")}
    """  # noqa: S608 -- every name is quoted
    return statement, where.arguments


def contents(shape: Shape, limit: int) -> str:
    """Return the statement for the states of rows with certain keys: the values of each key column, then bytes.

    It returns key, hash, subject, data (of a row that is larger than `limit` the beginning) and error.
    """
    values = ", ".join(f"${number}::text[]" for number in range(1, len(shape.keys) + 1))
    names = ", ".join(f"k{number}" for number in range(len(shape.keys)))
    wanted = ", ".join(f"w.k{number}::{key.cast}" for number, key in enumerate(shape.keys))
    ties = ", ".join(f"{column} AS tie{number}" for number, column in enumerate(shape.key_columns))
    order = ", ".join(f"s.tie{number}" for number in range(len(shape.keys)))
    return f"""
        SELECT s.key, s.digest, s.subject, substring(s.data FOR s.kept), s.error
        FROM (
            SELECT q.*, c.*,
                   sum(c.kept) OVER (ORDER BY {order.replace("s.", "q.")} ROWS UNBOUNDED PRECEDING) - c.kept AS before
            FROM (
                SELECT {ties}, {statements.key_text(shape)} AS key, {_digest(shape)} AS digest,
                       {statements.subject(shape)} AS subject, {statements.data(shape)} AS data
                FROM {shape.relation} t
                WHERE ({", ".join(shape.key_columns)}) IN (SELECT {wanted} FROM unnest({values}) w ({names}))
            ) q CROSS JOIN LATERAL ({statements.kept("q.data", limit)}) c
        ) s
        WHERE s.before < ${len(shape.keys) + 1}::bigint
        ORDER BY {order}
    """  # noqa: S608 -- every name is quoted


def error_digest(error: str) -> str:
    """Return what stands for the hash of a row that the server cannot convert: it is rejected once for each error."""
    return hashlib.sha256(error.encode()).hexdigest()[:24]


def _digest(shape: Shape) -> str:
    return _DIGEST.format(data=statements.data(shape), subject=statements.subject(shape))
