"""Lines of the log as records of OpenTelemetry."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from shared.runtime.identity import Identity
from shared.runtime.logs import LogOptions, configure
from shared.runtime.trace import Span, in_span, traced
from shared.telemetry.log_records import LogForwarder
from tests.unit.shared.telemetry.test_parents import PARENT, TRACE

logger = logging.getLogger("shared.tests")
SECRET = "s3cret"


@contextmanager
def forwarded() -> Iterator[InMemoryLogRecordExporter]:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with LogForwarder(provider).attached():
        yield exporter


def only(exporter: InMemoryLogRecordExporter) -> ReadableLogRecord:
    (found,) = exporter.get_finished_logs()
    return found


@pytest.mark.parametrize(
    ("level", "number"),
    [
        (logging.WARNING, SeverityNumber.WARN),
        (logging.ERROR, SeverityNumber.ERROR),
        (logging.CRITICAL, SeverityNumber.FATAL),
    ],
)
def test_a_line_is_a_record_with_the_same_fields(level: int, number: SeverityNumber) -> None:
    with forwarded() as exporter:
        logger.log(level, "lost connection", extra={"component": "bus", "after_s": 1.5, "of": {"a": 1}, "error": "no"})
    found = only(exporter)
    record = found.log_record
    assert (record.body, record.severity_number) == ("lost connection", number)
    assert record.severity_text == logging.getLevelName(level).lower()
    assert record.attributes == {"component": "bus", "after_s": 1.5, "of": '{"a": 1}', "exception.message": "no"}
    assert found.instrumentation_scope is not None
    assert found.instrumentation_scope.name == "shared.tests"
    assert not record.trace_id


def connect() -> None:
    raise ValueError(f"postgresql://trelay:{SECRET}@db/trelay")


def test_secrets_are_replaced_as_in_the_lines() -> None:
    with forwarded() as exporter:
        try:
            connect()
        except ValueError as exc:
            fields = {"password": SECRET, "error": exc}
            logger.exception("cannot connect to %s", f"postgresql://trelay:{SECRET}@db", extra=fields)
    record = only(exporter).log_record
    assert record.attributes is not None
    assert "ValueError" in str(record.attributes["exception.stacktrace"])
    assert SECRET not in json.dumps([record.body, dict(record.attributes)])


def test_a_line_names_the_span_or_at_least_the_trace_that_it_is_about() -> None:
    with forwarded() as exporter:
        with in_span(Span(TRACE, "00f067aa0ba902b7", sampled=True)):
            logger.warning("in a span")
        with traced(PARENT):
            logger.warning("in a trace")
    inside, traced_only = (found.log_record for found in exporter.get_finished_logs())
    assert (inside.trace_id, inside.span_id) == (int(TRACE, 16), 0x00F067AA0BA902B7)
    assert (traced_only.trace_id, traced_only.span_id) == (int(TRACE, 16), 0)


@pytest.mark.parametrize("name", ["opentelemetry.sdk", "urllib3.connectionpool"])
def test_lines_about_the_export_are_not_exported(name: str) -> None:
    with forwarded() as exporter:
        logging.getLogger(name).warning("sent")
    assert not exporter.get_finished_logs()


def test_a_reload_of_the_settings_of_the_log_keeps_the_export() -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with forwarded() as exporter:
            configure(LogOptions(), Identity("s", "n"), io.StringIO())
            logger.warning("after a reload")
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    assert only(exporter).log_record.body == "after a reload"
