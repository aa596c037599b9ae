"""The metric of shadows."""

from prometheus_client import CollectorRegistry

from services.process_api.shadow.messages import Result
from services.process_api.shadow.metrics import ShadowMetrics

NAME = "trelay_pipeline_shadow_events_total"


def test_every_result_reads_zero_before_the_first_event() -> None:
    registry = CollectorRegistry()
    metrics = ShadowMetrics(registry)
    metrics.declare(["orders"])
    metrics.count("orders", Result.DIFFERENT)
    values = {result: registry.get_sample_value(NAME, {"pipeline": "orders", "result": result}) for result in Result}
    assert values == {**dict.fromkeys(Result, 0), Result.DIFFERENT: 1}
