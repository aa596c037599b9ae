"""Metrics, and their names."""

import dataclasses

from prometheus_client import CollectorRegistry

from services.process_api.operations.statuses import StateSize
from services.process_api.worker.metrics import ProcessMetrics
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.process_api.making import batch, event, pipeline, record


def test_every_metric_reads_zero_at_the_start() -> None:
    registry = CollectorRegistry()
    ProcessMetrics(registry, [pipeline({"filter": "a"}, name="orders")], SYSTEM_CLOCK)
    for name in ("events_taken_total", "events_published_total", "rejects_total"):
        assert registry.get_sample_value(f"trelay_process_{name}", {"pipeline": "orders"}) == 0
    for name in ("unclaimed_total", "lost_total", "commit_seconds_count"):
        assert registry.get_sample_value(f"trelay_process_{name}") == 0
    step = {"pipeline": "orders", "step": "steps.0.filter"}
    assert registry.get_sample_value("trelay_process_step_seconds_count", step) == 0


def test_a_committed_batch_is_counted() -> None:
    registry = CollectorRegistry()
    made = pipeline({"map": "n = 2 ? missing : $"}, name="orders")
    metrics = ProcessMetrics(registry, [made], SYSTEM_CLOCK)
    filled = batch(made)
    filled.add([*(record(event({"n": number})) for number in (1, 2, 3)), record(b"x", source=None)])
    metrics.committed(filled, 0.003)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"trelay_process_{name}", labels)

    assert value("events_taken_total", pipeline="orders") == 3
    assert value("events_published_total", pipeline="orders") == 2
    assert value("rejects_total", pipeline="orders") == 1
    assert value("unclaimed_total") == 1
    assert value("commit_seconds_sum") == 0.003


def test_events_between_parts_are_counted_by_the_part_that_takes_them() -> None:
    registry = CollectorRegistry()
    made = pipeline({"repartition": "customer"}, {"repartition": "region"}, name="orders")
    metrics = ProcessMetrics(registry, [made], SYSTEM_CLOCK)

    def counted() -> list[float | None]:
        return [
            registry.get_sample_value(f"trelay_pipeline_{name}_total", {"pipeline": "orders", "part": part})
            for part in ("1", "2", "3")
            for name in ("forwarded", "continued")
        ]

    assert counted() == [None, None, 0, 0, 0, 0]
    records = [record(event({"customer": f"C-{number}", "region": "eu"}), number) for number in range(3)]
    for expected in ([None, None, 3, 0, 0, 0], [None, None, 3, 3, 3, 0], [None, None, 3, 3, 3, 3]):
        filled = batch(made)
        filled.add(records)
        metrics.committed(filled, 0.003)
        assert counted() == expected
        records = [
            dataclasses.replace(record(each.value or b"", number), headers=each.headers)
            for number, each in enumerate(filled.forwarded)
        ]
    assert registry.get_sample_value("trelay_process_events_taken_total", {"pipeline": "orders"}) == 3
    assert registry.get_sample_value("trelay_process_events_published_total", {"pipeline": "orders"}) == 3


def test_steps_are_timed() -> None:
    registry = CollectorRegistry()
    made = pipeline({"filter": "true"}, {"map": "1"}, name="orders")
    metrics = ProcessMetrics(registry, [made], SYSTEM_CLOCK)
    made.run(event(1), on_step=metrics.step_timer(made))
    for place in ("steps.0.filter", "steps.1.map"):
        labels = {"pipeline": "orders", "step": place}
        assert registry.get_sample_value("trelay_process_step_seconds_count", labels) == 1


def test_a_partition_that_is_owned_elsewhere_has_no_lag_here() -> None:
    registry = CollectorRegistry()
    metrics = ProcessMetrics(registry, [], SYSTEM_CLOCK)
    metrics.set_lag({0: 5, 1: 7})
    assert registry.get_sample_value("trelay_process_lag_records", {"partition": "1"}) == 7
    metrics.set_lag({0: 4})
    assert registry.get_sample_value("trelay_process_lag_records", {"partition": "0"}) == 4
    assert registry.get_sample_value("trelay_process_lag_records", {"partition": "1"}) is None


def test_the_state_of_a_step_is_that_of_all_partitions_here() -> None:
    registry = CollectorRegistry()
    metrics = ProcessMetrics(registry, [], SYSTEM_CLOCK)
    labels = {"pipeline": "orders", "step": "steps.0.dedupe"}
    metrics.set_state([StateSize("orders", "steps.0.dedupe", 2, 30), StateSize("orders", "steps.0.dedupe", 1, 10)])
    assert registry.get_sample_value("trelay_pipeline_state_keys", labels) == 3
    assert registry.get_sample_value("trelay_pipeline_state_bytes", labels) == 40
    metrics.set_state([])
    assert registry.get_sample_value("trelay_pipeline_state_keys", labels) is None
