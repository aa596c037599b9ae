"""Telemetry with a collector that is there, slow, refuses, or is not there."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, Counter

from shared.http.server import Health
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.identity import Identity
from shared.runtime.trace import current_span
from shared.telemetry.opening import opened_telemetry
from shared.telemetry.options import TelemetryOptions
from shared.telemetry.tracing import NO_TRACING, Tracing
from tests.unit.shared.telemetry.collector import Collector

UNREACHABLE = "http://127.0.0.1:1"


@asynccontextmanager
async def opened(registry: CollectorRegistry, **given: object) -> AsyncIterator[Tracing]:
    options, identity = TelemetryOptions.model_validate(given), Identity("system_api", "n1", "1.0")
    health = Health("test")
    health.registry = registry
    async with opened_telemetry(options, identity, health, SYSTEM_CLOCK, system="kafka") as tracing:
        yield tracing


def polls(tracing: Tracing, count: int) -> None:
    for _ in range(count):
        with tracing.poll("orders") as poll:
            poll.found(1, 0)


def dropped(registry: CollectorRegistry, reason: str) -> float | None:
    return registry.get_sample_value("trelay_telemetry_dropped_total", {"signal": "traces", "reason": reason})


def exported(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("trelay_telemetry_exported_total", {"signal": "traces"})


@pytest.mark.parametrize("given", [{}, {"endpoint": UNREACHABLE, "traces": False}], ids=["off", "without traces"])
async def test_telemetry_that_is_off_has_neither_spans_nor_metrics(given: dict[str, object]) -> None:
    registry = CollectorRegistry()
    async with opened(registry, **given) as tracing:
        assert tracing is NO_TRACING
    assert not list(registry.collect())


async def test_a_stop_exports_what_waits() -> None:
    registry = CollectorRegistry()
    async with Collector.running() as collector:
        given = {"endpoint": collector.url, "headers": {"Authorization": "Bearer t"}, "flush_timeout": 20}
        async with opened(registry, **given) as tracing:
            polls(tracing, 3)
    assert collector.span_names == ["poll orders"] * 3
    assert collector.headers[0]["Authorization"] == "Bearer t"
    assert exported(registry) == 3
    (resource,) = collector.traces[0].resource_spans
    found = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    expected = {"service.name": "system_api", "service.instance.id": "n1", "service.version": "1.0"}
    assert expected.items() <= found.items()


async def test_a_collector_that_is_slow_delays_nothing_and_the_stop_is_bounded() -> None:
    registry = CollectorRegistry()
    async with Collector.running() as collector:
        collector.gate.clear()
        async with opened(registry, endpoint=collector.url, queue=4, flush_timeout=0.2) as tracing:
            polls(tracing, 4)
            async with asyncio.timeout(60):
                await collector.arrived.wait()
            began = time.thread_time()
            polls(tracing, 100)
            assert time.thread_time() - began < 1
            assert dropped(registry, "queue_full") == 96
            collector.gate.set()
            collector.status = 503
            stopping = time.monotonic()
        assert time.monotonic() - stopping < 60


async def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    registry = CollectorRegistry()
    async with Collector.running() as collector:
        collector.status = 400
        given = {"endpoint": collector.url, "queue": 1, "flush_timeout": 20}
        async with opened(registry, **given) as tracing, asyncio.timeout(60):
            for failed in (1.0, 2.0):
                polls(tracing, 1)
                while dropped(registry, "export_failed") != failed:
                    await asyncio.sleep(0.01)
            collector.status = 200
            polls(tracing, 1)
            while exported(registry) != 1:
                await asyncio.sleep(0.01)
    lines = [record for record in caplog.records if record.name.startswith(("shared.telemetry", "opentelemetry"))]
    assert [record.getMessage() for record in lines] == [
        "telemetry export failed; dropping",
        "telemetry export recovered",
    ]
    assert "400" in lines[0].__dict__["error"]
    assert lines[1].__dict__["count"] == 2


async def test_metrics_are_exported_as_they_are_exposed() -> None:
    registry = CollectorRegistry()
    counter = Counter("trelay_things", "Things.", ["source"], registry=registry)
    async with Collector.running() as collector:
        given = {"endpoint": collector.url, "traces": False, "metrics": True, "metrics_interval": 1}
        async with opened(registry, **given, flush_timeout=20) as tracing, asyncio.timeout(60):
            assert tracing is NO_TRACING
            counter.labels("orders").inc(2)
            while not collector.metrics:
                await asyncio.sleep(0.01)
            counter.labels("orders").inc(3)
    found = [metric for metric in collector.latest_metrics if metric.name == "trelay_things_total"]
    assert [(point.as_double, point.attributes[0].value.string_value) for point in found[0].sum.data_points] == [
        (5.0, "orders")
    ]
    assert found[0].sum.is_monotonic
    assert registry.get_sample_value("trelay_telemetry_exported_total", {"signal": "metrics"})


async def test_lines_of_the_log_are_exported_with_their_fields_and_their_span() -> None:
    registry = CollectorRegistry()
    async with Collector.running() as collector:
        given = {"endpoint": collector.url, "logs": True, "flush_timeout": 20}
        async with opened(registry, **given) as tracing:
            with tracing.poll("orders"):
                span = current_span()
                logging.getLogger("shared.bus").warning("lost connection", extra={"component": "bus", "port": 5})
    found = next(record for record in collector.log_records if record.body.string_value == "lost connection")
    assert span is not None
    assert (found.trace_id.hex(), found.span_id.hex()) == (span.trace_id, span.span_id)
    assert found.severity_text == "warning"
    assert {pair.key for pair in found.attributes} == {"component", "port"}
    assert registry.get_sample_value("trelay_telemetry_exported_total", {"signal": "logs"})


async def test_an_absent_collector_fails_nothing() -> None:
    registry = CollectorRegistry()
    async with opened(registry, endpoint=UNREACHABLE, timeout=0.1, flush_timeout=20) as tracing:
        polls(tracing, 2)
    assert dropped(registry, "export_failed") == 2
