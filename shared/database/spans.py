"""Spans of statements, by OpenTelemetry's semantic conventions for databases, where the current task works on a span.

No attribute holds the text of a statement or a parameter: those may hold keys and data.

Source: https://opentelemetry.io/docs/specs/semconv/database/database-spans/
"""

from typing import Any

import asyncpg

from shared.runtime.trace import Attributes, ClientSpan, ClientSpans, client_spans, client_spans_of_context

_READS = ("COPY", "DECLARE", "FETCH", "LOCK", "SELECT", "SHOW", "WITH")
_WRITES = ("CALL", "DELETE", "INSERT", "MERGE", "NOTIFY", "TRUNCATE", "UPDATE")
_SESSION = ("BEGIN", "CLOSE", "COMMIT", "LISTEN", "ROLLBACK", "SET", "START")
_OPERATIONS = frozenset((*_READS, *_WRITES, *_SESSION))


def database_attributes(system: str, database: str, host: str | None = None, port: int | None = None) -> Attributes:
    """Return the attributes that name a database."""
    found: dict[str, str | int | None] = {
        "db.system.name": system,
        "db.namespace": database,
        "server.address": host,
        "server.port": port,
    }
    return {name: value for name, value in found.items() if value}


def trace_statements(connection: asyncpg.Connection) -> None:
    """Make a span of each statement that a connection runs from now on, but for those of prepared statements.

    Call it whenever the connection is taken into use: it does nothing while no spans are made.
    """
    if client_spans() is not None:
        connection.add_query_logger(_ran)  # the same function is added once


def _ran(query: Any) -> None:
    """Make the span of a statement that has ended; called in the context of its task, a little later."""
    spans = client_spans_of_context()
    if spans is None:
        return
    address = query.conn_addr if isinstance(query.conn_addr, tuple) else (query.conn_addr, None)
    attributes = database_attributes("postgresql", query.conn_params.database, *address)
    if (span := begun(spans, query.query, attributes, query.elapsed)) is not None:
        end(span, query.exception)


def begun(spans: ClientSpans, statement: str, attributes: Attributes, ago: float = 0.0) -> ClientSpan | None:
    """Begin the span of a statement that began `ago` seconds ago."""
    operation = statement.lstrip().partition(" ")[0].rstrip(";\n").upper()
    target = attributes.get("db.namespace", "")
    if operation not in _OPERATIONS:
        return spans.begin(f"{attributes['db.system.name']} {target}", attributes, ago)
    return spans.begin(f"{operation} {target}", {**attributes, "db.operation.name": operation}, ago)


def end(span: ClientSpan | None, error: BaseException | None = None) -> None:
    """End the span of a statement, if it has one."""
    if span is None:
        return
    code = getattr(error, "sqlstate", None)
    span.end({} if code is None else {"db.response.status_code": code}, type(error).__qualname__ if error else None)
