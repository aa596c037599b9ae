from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from prometheus_client import CollectorRegistry, Gauge

from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.identity import Identity
from shared.telemetry.exporting import ExportMetrics, Exports, SdkErrors
from shared.telemetry.metric_export import MetricExport
from shared.telemetry.sdk import resource_of


class Recording(MetricExporter):
    def __init__(self, *results: MetricExportResult) -> None:
        super().__init__()
        self.results = list(results)
        self.sent: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.sent.append(metrics_data)
        return self.results.pop(0)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def test_points_are_counted_as_exported_or_dropped() -> None:
    registry, exporter = CollectorRegistry(), Recording(MetricExportResult.FAILURE, MetricExportResult.SUCCESS)
    Gauge("trelay_up", "Up.", registry=registry).set(1)
    families = list(registry.collect())
    exports = Exports("metrics", 0, ExportMetrics(registry), SdkErrors(), SYSTEM_CLOCK)
    export = MetricExport(exporter, resource_of(Identity("system_api", "n")), exports, SYSTEM_CLOCK)
    export.export(families)
    export.export(families)
    labels = {"signal": "metrics"}
    assert registry.get_sample_value("trelay_telemetry_exported_total", labels) == 1
    failed = registry.get_sample_value("trelay_telemetry_dropped_total", labels | {"reason": "export_failed"})
    assert failed == 1
    (resource,) = exporter.sent[-1].resource_metrics
    assert resource.resource.attributes["service.name"] == "system_api"
