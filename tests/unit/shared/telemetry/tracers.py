"""Tracing into memory."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.identity import Identity
from shared.telemetry.sdk import resource_of
from shared.telemetry.spans import SpanTracing


class MemorySpans:
    """Spans of any number of services, in the order in which they ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()

    @property
    def ended(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.ended if span.name == name]

    def tracing(self, service: str = "test", *, ratio: float = 1.0, clock: Clock = SYSTEM_CLOCK) -> SpanTracing:
        """Return the tracing of one service."""
        sampler = ParentBased(TraceIdRatioBased(ratio))
        provider = TracerProvider(resource=resource_of(Identity(service, "n")), sampler=sampler)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        return SpanTracing(provider.get_tracer("test"), "kafka", clock)
