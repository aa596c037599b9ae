"""Exports in threads of the SDK: a collector that is slow or down costs items, which are counted, and no time."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter

from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

SIGNALS = ("traces", "metrics", "logs")
REASONS = ("queue_full", "export_failed")


class ExportMetrics:
    """What was exported and what was dropped, by signal."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.exported = Counter(
            "trelay_telemetry_exported", "Items that the collector accepted.", ["signal"], registry=registry
        )
        self.dropped = Counter(
            "trelay_telemetry_dropped", "Items that were dropped.", ["signal", "reason"], registry=registry
        )
        for signal in SIGNALS:
            self.exported.labels(signal)
            for reason in REASONS:
                self.dropped.labels(signal, reason)


class Exports:
    """Counts the exports of one signal. An outage has one log line when it begins and one when it is over."""

    def __init__(self, signal: str, queue: int, metrics: ExportMetrics, sdk_errors: "SdkErrors", clock: Clock) -> None:
        """`queue` is how many items may wait."""
        self._fields: dict[str, object] = {"component": "telemetry", "signal": signal}
        self._exported = metrics.exported.labels(signal)
        self._overflowed, self._failed = (metrics.dropped.labels(signal, reason) for reason in REASONS)
        self._queue = queue
        self._sdk_errors = sdk_errors
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._lost = 0
        self.waiting = 0
        """Items in the queue of the SDK."""

    def enqueue(self) -> bool:
        """Count an item that is about to wait; return False if it must be dropped."""
        with self._lock:
            if self.waiting < self._queue:
                self.waiting += 1
                return True
            self._lost += 1
        self._overflowed.inc()
        return False

    def dequeue(self, count: int) -> None:
        """Count items that are about to be exported."""
        with self._lock:
            self.waiting -= count

    def ended(self, count: int, *, accepted: bool) -> None:
        """Count items that were exported or, after the retries, dropped."""
        if not accepted:
            self._failed.inc(count)
            with self._lock:
                self._lost += count
            if self._since is None:
                self._since = self._clock.monotonic()
                error = self._sdk_errors.latest
                logger.warning("telemetry export failed; dropping", extra=self._fields | {"error": error})
            return
        self._exported.inc(count)
        if self._since is not None:
            after = round(self._clock.monotonic() - self._since, 1)
            with self._lock:
                lost, self._lost = self._lost, 0
            self._since = None
            logger.info("telemetry export recovered", extra=self._fields | {"after_s": after, "count": lost})


class SdkErrors(logging.Handler):
    """Keeps what the SDK logs off the log, line by line in an outage, and remembers the latest text of each thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.local()

    @property
    def latest(self) -> str:
        """The latest text of this thread."""
        return getattr(self._thread, "text", "not accepted")

    def emit(self, record: logging.LogRecord) -> None:
        """Remember the text."""
        self._thread.text = record.getMessage()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the lines of the SDK for as long as the context lasts."""
        sdk = logging.getLogger("opentelemetry")
        propagate, sdk.propagate = sdk.propagate, False
        sdk.addHandler(self)
        try:
            yield
        finally:
            sdk.removeHandler(self)
            sdk.propagate = propagate


class BoundedSpans(SpanProcessor):
    """Passes spans to the batches of the SDK, as many as its queue holds."""

    def __init__(self, exporter: SpanExporter, exports: Exports, queue: int) -> None:
        self._exports = exports
        self._batches = BatchSpanProcessor(
            _WatchedSpans(exporter, exports), max_queue_size=queue, max_export_batch_size=min(512, queue)
        )

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        """Put a span into the queue, unless that is full."""
        if span.context is not None and span.context.trace_flags.sampled and self._exports.enqueue():
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Export what waits. Takes up to 30 s: call it in a thread."""
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export what waits."""
        return self._batches.force_flush(timeout_millis)


class _WatchedSpans(SpanExporter):
    def __init__(self, inner: SpanExporter, exports: Exports) -> None:
        self._inner = inner
        self._exports = exports

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._exports.dequeue(len(spans))
        accepted = False
        try:
            result = self._inner.export(spans)
            accepted = result is SpanExportResult.SUCCESS
        finally:
            self._exports.ended(len(spans), accepted=accepted)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()
