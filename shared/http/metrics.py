"""What every process tells: itself, and which parts are connected; and how a set of labels is closed."""

import gc
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shared.http.health import Readiness

Labelled = TypeVar("Labelled", Counter, Gauge, Histogram)


def closed(metric: Labelled, values: Iterable[str]) -> Mapping[str, Labelled]:
    """Return the series of a metric with one label, one for each value that it will ever have.

    Each reads 0 before anything happened, where an absent series would alert nobody; and a value that was not foreseen
    is a KeyError, where `labels()` would make a new series of whatever a stranger sends.
    """
    return {value: metric.labels(value) for value in values}


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
        yield GaugeMetricFamily("trelay_ready", "Whether traffic may come.", value=float(self._readiness.ready))
        parts = GaugeMetricFamily("trelay_part_connected", "Whether a part that was declared works.", labels=["part"])
        for part, works in self._readiness.parts().items():
            parts.add_metric([part], float(works))
        yield parts


class ProcessMetrics(Collector):
    """CPU, memory, open files, garbage collections, and the version that runs: as of the last `refresh`."""

    def __init__(self) -> None:
        self._process = ProcessCollector(registry=None)
        self._found: list[Metric] = []

    def refresh(self) -> None:
        """Look at the process. Reads files, so the event loop should leave it to a thread."""
        release = InfoMetricFamily("trelay", "The release that runs.", value={"version": version("trelay")})
        collections = CounterMetricFamily("python_gc_collections", "Collections by generation.", labels=["generation"])
        for generation, stats in enumerate(gc.get_stats()):
            collections.add_metric([str(generation)], stats["collections"])
        self._found = [*self._process.collect(), collections, release]

    def describe(self) -> Iterator[Metric]:
        """Name the metrics that are not the client library's own."""
        yield CounterMetricFamily("python_gc_collections", "")
        yield InfoMetricFamily("trelay", "")

    def collect(self) -> Iterator[Metric]:
        """Return what was found."""
        yield from self._found
