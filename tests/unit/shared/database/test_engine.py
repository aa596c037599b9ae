"""Spans of the statements that SQLAlchemy executes."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from shared.database.engine import trace_engine
from tests.unit.shared.database.test_spans import SHOP
from tests.unit.shared.telemetry.test_parents import PARENT
from tests.unit.shared.telemetry.tracers import MemorySpans


def executed(*statements: str) -> list[ReadableSpan]:
    """Return the spans of statements that SQLAlchemy executes for an event."""
    spans, engine = MemorySpans(), create_engine("sqlite://")
    trace_engine(engine, SHOP)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # for no event
        with spans.tracing().following([PARENT], {}):
            for statement in statements:
                connection.execute(text(statement), {"key": "s3cret"})
    engine.dispose()
    return spans.ended


def test_a_statement_names_its_database_and_neither_its_text_nor_its_parameters() -> None:
    (span,) = executed("\n  select :key")
    assert (span.name, span.kind) == ("SELECT shop", SpanKind.CLIENT)
    assert span.attributes == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "server.address": "db",
        "server.port": 5432,
        "db.operation.name": "SELECT",
    }
    assert "s3cret" not in span.to_json()


def test_a_word_that_is_no_operation_is_in_no_span() -> None:
    (span,) = executed("/* s3cret */ SELECT :key")
    assert span.name == "postgresql shop"
    assert "s3cret" not in span.to_json()


def test_a_statement_that_fails_names_the_kind_of_its_error() -> None:
    spans, engine = MemorySpans(), create_engine("sqlite://")
    trace_engine(engine, SHOP)
    with (
        engine.connect() as connection,
        spans.tracing().following([PARENT], {}),
        pytest.raises(OperationalError),
    ):
        connection.execute(text("SELECT * FROM s3cret"))
    engine.dispose()
    (span,) = spans.ended
    assert (span.attributes or {})["error.type"] == "OperationalError"
    assert "s3cret" not in span.to_json()
