"""Sends the lines of the log to the collector, with the fields that they have as JSON.

Source: https://opentelemetry.io/docs/specs/otel/logs/data-model/
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from shared.runtime.logs import Forwarder, fields_of, message_of, traceback_of
from shared.runtime.trace import current_span, current_trace_id
from shared.telemetry.exporting import Exports

_SEVERITY = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
_NAMES = {"error": "exception.message"}
"""Fields that OpenTelemetry has a name for."""

_NOT_SENT = ("opentelemetry", "urllib3")
"""Loggers of the export itself: a line about each export would be exported, without end."""


class LogForwarder(Forwarder):
    """Makes a record of each line that the log has."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._provider = provider

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record into the queue; never waits."""
        if record.name.partition(".")[0] in _NOT_SENT:
            return
        try:
            self._provider.get_logger(record.name).emit(_record(record))
        except Exception:  # noqa: BLE001 -- the log must not fail what it tells about
            self.handleError(record)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Take the lines of the process for as long as the context lasts."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)


def _record(record: logging.LogRecord) -> LogRecord:
    attributes = {_NAMES.get(name, name): _value(value) for name, value in fields_of(record).items()}
    if record.exc_info:
        attributes["exception.stacktrace"] = traceback_of(record)
    level = record.levelname.lower()
    return LogRecord(
        timestamp=int(record.created * 1e9),
        observed_timestamp=int(record.created * 1e9),
        context=_context(),
        severity_text=level,
        severity_number=_SEVERITY.get(level, SeverityNumber.UNSPECIFIED),
        body=message_of(record),
        attributes=attributes,
    )


def _context() -> Context:
    span = current_span()
    trace_id = current_trace_id()
    if trace_id is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if span is not None and span.sampled else TraceFlags.DEFAULT)
    span_id = 0 if span is None else int(span.span_id, 16)
    named = SpanContext(int(trace_id, 16), span_id, is_remote=False, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(named), Context())


def _value(value: Any) -> str | bool | int | float:
    return value if isinstance(value, str | bool | int | float) else json.dumps(value, ensure_ascii=False, default=str)


class BoundedLogs(LogRecordProcessor):
    """Passes records to the batches of the SDK, as many as its queue holds."""

    def __init__(self, exporter: LogRecordExporter, exports: Exports, queue: int) -> None:
        self._exports = exports
        self._batches = BatchLogRecordProcessor(
            _WatchedLogs(exporter, exports),
            max_queue_size=queue,
            max_export_batch_size=min(512, queue),
            schedule_delay_millis=1000,
        )

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Put a record into the queue, unless that is full."""
        if self._exports.enqueue():
            self._batches.on_emit(log_record)

    def shutdown(self) -> None:
        """Export what waits. Takes up to 30 s: call it in a thread."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export what waits."""
        return self._batches.force_flush(timeout_millis)


class _WatchedLogs(LogRecordExporter):
    def __init__(self, inner: LogRecordExporter, exports: Exports) -> None:
        self._inner = inner
        self._exports = exports

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        self._exports.dequeue(len(batch))
        accepted = False
        try:
            result = self._inner.export(batch)
            accepted = result is LogRecordExportResult.SUCCESS
        finally:
            self._exports.ended(len(batch), accepted=accepted)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)
