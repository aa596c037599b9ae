"""The SDK as the settings say."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.identity import Identity
from shared.telemetry.options import TelemetryOptions
from shared.telemetry.sdk import opened_sdk, resource_of
from tests.unit.shared.telemetry.test_parents import PARENT, event


@pytest.mark.parametrize(("ratio", "polls", "spans"), [(1.0, 20, 21), (0.0, 20, 1)])
def test_the_ratio_decides_on_traces_that_begin_here_and_a_parent_on_the_others(
    ratio: float, polls: int, spans: int
) -> None:
    exporter = InMemorySpanExporter()
    options = TelemetryOptions(endpoint="http://127.0.0.1:1", sample_ratio=ratio)
    with opened_sdk(options, Identity("s", "n"), CollectorRegistry(), SYSTEM_CLOCK, spans=exporter) as sdk:
        tracing = sdk.tracing("kafka")
        for _ in range(polls):
            with tracing.poll("orders") as poll:
                poll.found(1, 0)
        tracing.sent("trelay.ingest", [event(PARENT)], 0.1)
        sdk.shutdown()
    assert len(exporter.get_finished_spans()) == spans


async def test_the_environment_adds_to_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other")
    found = (await asyncio.to_thread(resource_of, Identity("system_api", "n1", "1.0"))).attributes
    assert found["deployment.environment.name"] == "test"
    assert found["service.name"] == "system_api"
    assert found["service.namespace"] == "trelay"
