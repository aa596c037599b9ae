"""Spans of statements, by the semantic conventions for databases."""

import asyncio
from typing import Any, NamedTuple

import asyncpg

from shared.database.spans import database_attributes, trace_statements
from tests.unit.shared.telemetry.tracers import MemorySpans

SHOP = database_attributes("postgresql", "shop", "db", 5432)


class Parameters(NamedTuple):
    database: str = "shop"


class Query(NamedTuple):
    """What asyncpg reports of a statement."""

    query: str
    conn_addr: Any = ("db", 5432)
    conn_params: Parameters = Parameters()
    elapsed: float = 0.25
    exception: BaseException | None = None


class Connection:
    """Reports as asyncpg does: in a callback of the loop."""

    def __init__(self) -> None:
        self.loggers: set[Any] = set()

    @property
    def as_asyncpg(self) -> Any:
        return self

    def add_query_logger(self, logger: Any) -> None:
        self.loggers.add(logger)

    def run(self, query: Query) -> None:
        for logger in self.loggers:
            asyncio.get_running_loop().call_soon(logger, query)


async def test_a_statement_of_asyncpg_has_one_span_however_often_its_connection_is_used() -> None:
    spans, connection = MemorySpans(), Connection()
    trace_statements(connection.as_asyncpg)
    assert not connection.loggers
    tracing = await asyncio.to_thread(spans.tracing)
    with tracing.poll("orders") as poll:
        trace_statements(connection.as_asyncpg)
        trace_statements(connection.as_asyncpg)
        connection.run(Query("SELECT 1"))
        await asyncio.sleep(0)
        connection.run(Query("FETCH 10", conn_addr="/run/postgresql/.s.PGSQL.5432"))
        failed = asyncpg.UndefinedTableError("s3cret")
        connection.run(Query("UPDATE s3cret SET a = 1", exception=failed))
        poll.found(1, 0)
    await asyncio.sleep(0)
    connection.run(Query("SELECT 2"))  # for no poll
    await asyncio.sleep(0)
    found = {span.name: dict(span.attributes or {}) for span in spans.ended}
    assert set(found) == {"poll orders", "SELECT shop", "FETCH shop", "UPDATE shop"}
    assert found["SELECT shop"] == {**SHOP, "db.operation.name": "SELECT"}
    assert found["FETCH shop"]["server.address"] == "/run/postgresql/.s.PGSQL.5432"
    assert found["UPDATE shop"]["error.type"] == "UndefinedTableError"
    assert found["UPDATE shop"]["db.response.status_code"] == "42P01"
    assert "s3cret" not in "".join(span.to_json() for span in spans.ended)
    (selected,) = spans.named("SELECT shop")
    assert selected.start_time is not None
    assert selected.end_time is not None
    assert selected.end_time - selected.start_time >= 250_000_000
