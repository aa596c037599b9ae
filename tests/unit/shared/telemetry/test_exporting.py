import logging

from prometheus_client import CollectorRegistry

from shared.runtime.clock import SYSTEM_CLOCK
from shared.telemetry.exporting import ExportMetrics, Exports, SdkErrors


def exports(registry: CollectorRegistry, queue: int) -> Exports:
    return Exports("traces", queue, ExportMetrics(registry), SdkErrors(), SYSTEM_CLOCK)


def test_every_series_reads_zero_from_the_start() -> None:
    registry = CollectorRegistry()
    exports(registry, 1)
    for reason in ("queue_full", "export_failed"):
        labels = {"signal": "traces", "reason": reason}
        assert registry.get_sample_value("trelay_telemetry_dropped_total", labels) == 0
    assert registry.get_sample_value("trelay_telemetry_exported_total", {"signal": "traces"}) == 0


def test_a_full_queue_drops_until_something_left_it() -> None:
    made = exports(CollectorRegistry(), 2)
    assert [made.enqueue() for _ in range(3)] == [True, True, False]
    made.dequeue(2)
    assert made.enqueue()
    assert made.waiting == 1


def test_what_the_sdk_logs_is_kept_off_the_log() -> None:
    errors, sdk = SdkErrors(), logging.getLogger("opentelemetry.exporter")
    assert errors.latest == "not accepted"
    with errors.taken():
        sdk.error("Failed to export %s", "spans")
        assert not logging.getLogger("opentelemetry").propagate
    assert errors.latest == "Failed to export spans"
    assert logging.getLogger("opentelemetry").propagate
