"""Exports what `/metrics` shows, at an interval: a bridge from the Prometheus client, with no second set of metrics."""

from collections.abc import Iterable

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family

from shared.runtime.clock import Clock
from shared.telemetry.exporting import Exports
from shared.telemetry.metric_points import metrics_of, points_in

_SCOPE = InstrumentationScope("trelay")


class MetricExport:
    """Sends all metrics of a process. A failed export loses nothing but its point in time: counters are cumulative."""

    def __init__(self, exporter: MetricExporter, resource: Resource, exports: Exports, clock: Clock) -> None:
        self.exporter = exporter
        self._resource = resource
        self._exports = exports
        self._clock = clock
        self._start = self._now()

    def export(self, families: Iterable[Family]) -> None:
        """Send metrics. Waits for the collector: call it in a thread."""
        metrics = metrics_of(families, self._start, self._now())
        scope = ScopeMetrics(_SCOPE, metrics, "")
        result = self.exporter.export(MetricsData([ResourceMetrics(self._resource, [scope], "")]))
        self._exports.ended(points_in(metrics), accepted=result is MetricExportResult.SUCCESS)

    def _now(self) -> int:
        return int(self._clock.time() * 1e9)
