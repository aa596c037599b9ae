"""The SDK of OpenTelemetry as the settings say: resource, sampler, exporters."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from prometheus_client import CollectorRegistry

from shared.runtime.clock import Clock
from shared.runtime.identity import Identity
from shared.telemetry.exporting import BoundedSpans, ExportMetrics, Exports, SdkErrors
from shared.telemetry.options import TelemetryOptions
from shared.telemetry.spans import SpanTracing
from shared.telemetry.tracing import Tracing

_ATTRIBUTE_LENGTH = 1024
"""Characters of an attribute: paths and routes are its longest."""


class Sdk:
    """The parts of the SDK."""

    def __init__(self, provider: TracerProvider, exporter: SpanExporter, clock: Clock) -> None:
        self._provider = provider
        self._exporter = exporter
        self._clock = clock

    def tracing(self, system: str) -> Tracing:
        """Return what makes spans; `system` names the bus."""
        tracer = self._provider.get_tracer("trelay")
        return SpanTracing(tracer, system, self._clock)

    def shutdown(self) -> None:
        """Export what waits, and close. Call it in a thread."""
        self._provider.shutdown()

    def abort(self) -> None:
        """End the shutdown as soon as the request in progress has ended."""
        self._exporter.shutdown()


@contextmanager
def opened_sdk(
    options: TelemetryOptions,
    identity: Identity,
    registry: CollectorRegistry,
    clock: Clock,
    exporter: SpanExporter | None = None,
) -> Iterator[Sdk]:
    """Open the SDK. `exporter` replaces the one that sends to the collector."""
    errors = SdkErrors()
    with errors.taken():
        exports = Exports("traces", options.queue, ExportMetrics(registry), errors, clock)
        provider = TracerProvider(
            resource=resource_of(identity),
            sampler=ParentBased(TraceIdRatioBased(options.sample_ratio)),
            span_limits=SpanLimits(max_span_attribute_length=_ATTRIBUTE_LENGTH),
            shutdown_on_exit=False,
        )
        exporter = exporter or _span_exporter(options)
        provider.add_span_processor(BoundedSpans(exporter, exports, options.queue))
        yield Sdk(provider, exporter, clock)


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


def _span_exporter(options: TelemetryOptions) -> SpanExporter:
    assert options.endpoint is not None, "telemetry is on"
    return OTLPSpanExporter(
        endpoint=f"{options.endpoint.rstrip('/')}/v1/traces",
        certificate_file=None if options.ca_file is None else str(options.ca_file),
        headers={name: value.get_secret_value() for name, value in options.headers.items()},
        timeout=options.timeout,
        compression=Compression.Gzip,
    )
