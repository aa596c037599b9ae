"""The metrics of every process: its build, its resources and its parts; and metrics with a closed set of labels."""

import gc
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import nan
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shared.http.health import Readiness
from shared.runtime.certificates import expiry
from shared.runtime.identity import release

Labelled = TypeVar("Labelled", Counter, Gauge, Histogram)


def closed(metric: Labelled, values: Iterable[str]) -> Mapping[str, Labelled]:
    """Return the series of a metric with one label, one for each value that the label can have.

    Each series reads 0 from the start: an alert rule on an absent series never fires. An unforeseen value raises
    `KeyError`, where `labels()` would let callers create series without limit.
    """
    return {value: metric.labels(value) for value in values}


class CertificateMetrics:
    """When each certificate of the process expires. Its label is a file that the settings name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.expiry = Gauge(
            "trelay_certificate_expiry_timestamp_seconds",
            "Unix time when the certificate expires.",
            ["certificate"],
            registry=registry,
        )
        self._files: dict[Path, float | None] = {}

    def show_file(self, cert_file: Path) -> None:
        """Export when the certificate of a file expires, as of the last `refresh`."""
        self._files[cert_file] = None
        self.show(cert_file, lambda: self._files[cert_file])

    def refresh(self) -> None:
        """Read the files again. Call it in a thread, not on the event loop."""
        for cert_file in self._files:
            self._files[cert_file] = expiry(cert_file)

    def show(self, cert_file: Path, expires_at: Callable[[], float | None]) -> None:
        """Export what `expires_at` returns; None leaves the value as NaN, which no alert takes for an expiry."""

        def value() -> float:
            found = expires_at()
            return nan if found is None else found

        self.expiry.labels(str(cert_file)).set_function(value)


class ReadinessCollector(Collector):
    """`trelay_ready`, and `trelay_part_connected` for each declared part."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without asking any part."""
        yield GaugeMetricFamily("trelay_ready", "")
        yield GaugeMetricFamily("trelay_part_connected", "")

    def collect(self) -> Iterator[Metric]:
        """Ask every part."""
        yield GaugeMetricFamily("trelay_ready", "1 if traffic may come.", value=float(self._readiness.ready))
        parts = GaugeMetricFamily(
            "trelay_part_connected", "1 if this part of the service is connected.", labels=["part"]
        )
        for part, connected in self._readiness.parts().items():
            parts.add_metric([part], float(connected))
        yield parts


class ProcessMetrics(Collector):
    """The build, CPU, memory, open files and garbage collections of this process, as of the last `refresh`."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._process = ProcessCollector(registry=None)
        self._found: list[Metric] = []

    def refresh(self) -> None:
        """Measure the process. Reads files: call it in a thread, not on the event loop."""
        labels = {"version": release(), "python": platform.python_version(), "service": self._service}
        build = GaugeMetricFamily("trelay_build_info", "Always 1; the labels describe the build.", labels=list(labels))
        build.add_metric(list(labels.values()), 1)
        collections = CounterMetricFamily("python_gc_collections", "Collections by generation.", labels=["generation"])
        for generation, stats in enumerate(gc.get_stats()):
            collections.add_metric([str(generation)], stats["collections"])
        self._found = [*self._process.collect(), collections, build]

    def describe(self) -> Iterator[Metric]:
        """Name the metrics that are not the client library's own."""
        yield CounterMetricFamily("python_gc_collections", "")
        yield GaugeMetricFamily("trelay_build_info", "")

    def collect(self) -> Iterator[Metric]:
        """Return what the last `refresh` found."""
        yield from self._found
