"""The SDK of OpenTelemetry as the settings say: resource, sampler, exporters."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypedDict, Unpack

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter
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
from shared.telemetry.log_records import BoundedLogs, LogForwarder
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
    logs: LogRecordExporter


class Sdk:
    """The signals that are exported."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.tracer_provider: TracerProvider | None = None
        self.logger_provider: LoggerProvider | None = None
        self.metrics: MetricExport | None = None
        self.exporters: list[SpanExporter | MetricExporter | LogRecordExporter] = []

    def tracing(self, system: str) -> Tracing:
        """Return what makes spans; `system` names the bus."""
        if self.tracer_provider is None:
            return NO_TRACING
        return SpanTracing(self.tracer_provider.get_tracer("trelay"), system, self._clock)

    def export_metrics(self, families: Iterable[Family]) -> None:
        """Send metrics, if they are exported. Call it in a thread."""
        if self.metrics is not None:
            self.metrics.export(families)

    def shutdown(self) -> None:
        """Export what waits, and close. Call it in a thread."""
        if self.tracer_provider is not None:
            self.tracer_provider.shutdown()
        if self.logger_provider is not None:
            self.logger_provider.shutdown()
        if self.metrics is not None:
            self.metrics.exporter.shutdown()

    def abort(self) -> None:
        """End the shutdown as soon as the request in progress has ended."""
        for exporter in self.exporters:
            exporter.shutdown()


@contextmanager
def opened_sdk(
    options: TelemetryOptions,
    identity: Identity,
    registry: CollectorRegistry,
    clock: Clock,
    **given: Unpack[Exporters],
) -> Iterator[Sdk]:
    """Open the SDK. What is not given sends to the collector."""
    errors, sdk = SdkErrors(), Sdk(clock)
    counts, resource = ExportMetrics(registry), resource_of(identity)

    def exports(signal: str) -> Exports:
        return Exports(signal, options.queue, counts, errors, clock)

    with errors.taken(), ExitStack() as stack:
        if options.traces:
            spans = given.get("spans") or OTLPSpanExporter(endpoint=options.url_of("traces"), **_otlp(options))
            sdk.exporters.append(spans)
            sdk.tracer_provider = _tracer_provider(options, resource)
            sdk.tracer_provider.add_span_processor(BoundedSpans(spans, exports("traces"), options.queue))
        if options.metrics:
            metrics = given.get("metrics") or OTLPMetricExporter(endpoint=options.url_of("metrics"), **_otlp(options))
            sdk.exporters.append(metrics)
            sdk.metrics = MetricExport(metrics, resource, exports("metrics"), clock)
        if options.logs:
            logs = given.get("logs") or OTLPLogExporter(endpoint=options.url_of("logs"), **_otlp(options))
            sdk.exporters.append(logs)
            sdk.logger_provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
            sdk.logger_provider.add_log_record_processor(BoundedLogs(logs, exports("logs"), options.queue))
            stack.enter_context(LogForwarder(sdk.logger_provider).attached())
        yield sdk


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


def _tracer_provider(options: TelemetryOptions, resource: Resource) -> TracerProvider:
    return TracerProvider(
        resource=resource,
        sampler=ParentBased(TraceIdRatioBased(options.sample_ratio)),
        span_limits=SpanLimits(max_span_attribute_length=_ATTRIBUTE_LENGTH),
        shutdown_on_exit=False,
    )


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
