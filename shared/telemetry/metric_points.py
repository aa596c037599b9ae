"""Metrics of the Prometheus client as metrics of OpenTelemetry: same names, labels and values, as `/metrics` has them.

Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import inf, isnan
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_UNKNOWN: Any = None
"""The Prometheus client does not keep the smallest and the largest value; the protocol allows their absence."""


def metrics_of(families: Iterable[Family], start: int, now: int) -> list[Metric]:
    """Return the metrics of some families; `start` and `now` are in nanoseconds since 1970. NaN is left out."""
    return [metric for family in families for metric in _metrics(family, start, now)]


def points_in(metrics: Iterable[Metric]) -> int:
    """Count the points of metrics."""
    return sum(len(metric.data.data_points) for metric in metrics)


def _metrics(family: Family, start: int, now: int) -> Iterator[Metric]:
    if family.type == "histogram":
        points = [_histogram(samples, start, now) for samples in _by_labels(family.samples)]
        if points:
            yield Metric(family.name, family.documentation, family.unit, Histogram(points, _CUMULATIVE))
        return
    by_name: dict[str, list[NumberDataPoint]] = {}
    for sample in family.samples:
        if not isnan(sample.value):
            by_name.setdefault(sample.name, []).append(NumberDataPoint(sample.labels, start, now, sample.value))
    for name, numbers in by_name.items():
        data = Sum(numbers, _CUMULATIVE, is_monotonic=True) if family.type == "counter" else Gauge(numbers)
        yield Metric(name, family.documentation, family.unit, data)


def _by_labels(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Group the samples of histograms by their labels, apart from that of the bucket."""
    groups: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        labels = tuple(pair for pair in sample.labels.items() if pair[0] != "le")
        groups.setdefault(labels, []).append(sample)
    return list(groups.values())


def _histogram(samples: Sequence[Sample], start: int, now: int) -> HistogramDataPoint:
    """Return one histogram; its buckets count for themselves, where those of Prometheus include the ones before."""
    labels = {name: value for name, value in samples[0].labels.items() if name != "le"}
    buckets = sorted((float(each.labels["le"]), each.value) for each in samples if "le" in each.labels)
    up_to = [0.0, *(count for _, count in buckets)]
    counts = [int(count - before) for before, count in pairwise(up_to)]
    total = next((each.value for each in samples if each.name.endswith("_sum")), 0.0)
    bounds = [bound for bound, _ in buckets if bound != inf]
    return HistogramDataPoint(labels, start, now, sum(counts), total, counts, bounds, _UNKNOWN, _UNKNOWN)
