"""The SDK of OpenTelemetry as the settings say: resource, sampler, exporters."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypedDict, Unpack

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

from shared.runtime.clock import Clock
from shared.runtime.identity import Identity
from shared.telemetry.exporting import BoundedSpans, ExportMetrics, Exports, SdkErrors
from shared.telemetry.metric_export import MetricExport
from shared.telemetry.options import TelemetryOptions
from shared.telemetry.spans import SpanTracing
from shared.telemetry.tracing import NO_TRACING, Tracing

_ATTRIBUTE_LENGTH = 1024
"""Characters of an attribute: paths and routes are its longest."""


class Exporters(TypedDict, total=False):
    """Exporters in place of those that send to the collector."""

    spans: SpanExporter
    metrics: MetricExporter


@dataclass(frozen=True, slots=True)
class _Traces:
    provider: TracerProvider
    exporter: SpanExporter


class Sdk:
    """The signals that are exported."""

    def __init__(self, traces: _Traces | None, metrics: MetricExport | None, clock: Clock) -> None:
        self._traces = traces
        self._metrics = metrics
        self._clock = clock

    def tracing(self, system: str) -> Tracing:
        """Return what makes spans; `system` names the bus."""
        if self._traces is None:
            return NO_TRACING
        return SpanTracing(self._traces.provider.get_tracer("trelay"), system, self._clock)

    def export_metrics(self, families: Iterable[Family]) -> None:
        """Send metrics, if they are exported. Call it in a thread."""
        if self._metrics is not None:
            self._metrics.export(families)

    def shutdown(self) -> None:
        """Export what waits, and close. Call it in a thread."""
        if self._traces is not None:
            self._traces.provider.shutdown()
        if self._metrics is not None:
            self._metrics.exporter.shutdown()

    def abort(self) -> None:
        """End the shutdown as soon as the request in progress has ended."""
        if self._traces is not None:
            self._traces.exporter.shutdown()
        if self._metrics is not None:
            self._metrics.exporter.shutdown()


@contextmanager
def opened_sdk(
    options: TelemetryOptions,
    identity: Identity,
    registry: CollectorRegistry,
    clock: Clock,
    **given: Unpack[Exporters],
) -> Iterator[Sdk]:
    """Open the SDK. What is not given sends to the collector."""
    errors = SdkErrors()
    with errors.taken():
        counts = ExportMetrics(registry)
        resource = resource_of(identity)
        traces, metrics = None, None
        if options.traces:
            exporter = given.get("spans") or _span_exporter(options)
            exports = Exports("traces", options.queue, counts, errors, clock)
            spans = BoundedSpans(exporter, exports, options.queue)
            traces = _Traces(_tracer_provider(options, resource, spans), exporter)
        if options.metrics:
            exports = Exports("metrics", 0, counts, errors, clock)
            metrics = MetricExport(given.get("metrics") or _metric_exporter(options), resource, exports, clock)
        yield Sdk(traces, metrics, clock)


def resource_of(identity: Identity) -> Resource:
    """Return what identifies this process, beside `OTEL_RESOURCE_ATTRIBUTES` of the environment."""
    return Resource.create(
        {
            "service.name": identity.service,
            "service.namespace": "trelay",
            "service.version": identity.version,
            "service.instance.id": identity.node,
        }
    )


def _tracer_provider(options: TelemetryOptions, resource: Resource, spans: BoundedSpans) -> TracerProvider:
    provider = TracerProvider(
        resource=resource,
        sampler=ParentBased(TraceIdRatioBased(options.sample_ratio)),
        span_limits=SpanLimits(max_span_attribute_length=_ATTRIBUTE_LENGTH),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(spans)
    return provider


class _Otlp(TypedDict):
    certificate_file: str | None
    headers: dict[str, str]
    timeout: float
    compression: Compression


def _otlp(options: TelemetryOptions) -> _Otlp:
    return {
        "certificate_file": None if options.ca_file is None else str(options.ca_file),
        "headers": {name: value.get_secret_value() for name, value in options.headers.items()},
        "timeout": options.timeout,
        "compression": Compression.Gzip,
    }


def _span_exporter(options: TelemetryOptions) -> SpanExporter:
    return OTLPSpanExporter(endpoint=options.url_of("traces"), **_otlp(options))


def _metric_exporter(options: TelemetryOptions) -> MetricExporter:
    return OTLPMetricExporter(endpoint=options.url_of("metrics"), **_otlp(options))
