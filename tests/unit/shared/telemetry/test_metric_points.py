from math import nan

from opentelemetry.sdk.metrics.export import Gauge as GaugeData
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.metrics.export import Sum
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from shared.telemetry.metric_points import metrics_of, points_in

disable_created_metrics()  # type: ignore[no-untyped-call] # as every service does


def test_a_counter_is_a_cumulative_sum_under_its_exposed_name() -> None:
    registry = CollectorRegistry()
    counter = Counter("trelay_things", "Things.", ["source"], registry=registry)
    counter.labels("a").inc(2)
    counter.labels("b").inc(3)
    (metric,) = metrics_of(registry.collect(), 5, 7)
    assert (metric.name, metric.description) == ("trelay_things_total", "Things.")
    assert isinstance(metric.data, Sum)
    assert metric.data.is_monotonic
    points = [(point.attributes, point.value) for point in metric.data.data_points]
    assert points == [({"source": "a"}, 2.0), ({"source": "b"}, 3.0)]
    assert {(point.start_time_unix_nano, point.time_unix_nano) for point in metric.data.data_points} == {(5, 7)}
    assert points_in([metric]) == 2


def test_a_gauge_has_its_value_and_none_where_there_is_none() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("trelay_expiry", "Expiry.", ["file"], registry=registry)
    gauge.labels("a").set(1.5)
    gauge.labels("b").set(nan)
    (metric,) = metrics_of(registry.collect(), 0, 1)
    assert isinstance(metric.data, GaugeData)
    assert [point.value for point in metric.data.data_points] == [1.5]


def test_the_buckets_of_a_histogram_count_for_themselves() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("trelay_seconds", "Seconds.", ["source"], buckets=(1, 10), registry=registry)
    for value in (0.5, 0.75, 5, 50, 60, 70):
        histogram.labels("a").observe(value)
    histogram.labels("b").observe(1)
    (metric,) = metrics_of(registry.collect(), 0, 1)
    assert isinstance(metric.data, HistogramData)
    first, second = metric.data.data_points
    assert (first.attributes, first.explicit_bounds, first.bucket_counts) == ({"source": "a"}, [1.0, 10.0], [2, 1, 3])
    assert (first.count, first.sum) == (6, 186.25)
    assert (second.attributes, second.bucket_counts) == ({"source": "b"}, [1, 0, 0])


def test_a_metric_without_series_is_left_out() -> None:
    registry = CollectorRegistry()
    Histogram("trelay_seconds", "Seconds.", ["source"], registry=registry)
    Counter("trelay_things", "Things.", ["source"], registry=registry)
    assert metrics_of(registry.collect(), 0, 1) == []
