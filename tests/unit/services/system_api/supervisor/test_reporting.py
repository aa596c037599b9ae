"""What reaches the people, the log and the metrics."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from services.system_api.sources.source import Batch
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.status import State
from shared.alerts import RecordingAlerts
from shared.bus.protocol import Outgoing
from shared.events.dead_letter import Reject
from shared.runtime.clock import SystemClock


def reporter() -> tuple[Reporter, CollectorRegistry]:
    registry = CollectorRegistry()
    return Reporter("orders", RecordingAlerts(), SystemMetrics(registry, ["orders"]), SystemClock()), registry


def test_what_blocks_us_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    report, _ = reporter()
    for _ in range(3):
        report.blocked("no broker")
    assert [record.message for record in caplog.records] == ["source orders waits: no broker"]
    assert report.condition.state is State.BLOCKED


def test_retries_are_counted_and_the_first_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    report, registry = reporter()
    for _ in range(3):
        report.retrying("refused")
    assert registry.get_sample_value("trelay_system_retries_total", {"source": "orders"}) == 3
    assert len(caplog.records) == 1


def test_opening_does_not_hide_an_outage() -> None:
    report, _ = reporter()
    report.opening()
    assert report.condition.state.value == "opening"
    report.retrying("refused")
    report.down("refused")
    report.opening()
    assert report.condition.state.value == "down"


def test_a_commit_counts_and_names_its_first_reject(caplog: pytest.LogCaptureFixture) -> None:
    report, registry = reporter()
    rejects = [Reject(f"orders:{n}", b"", "no JSON", "source", f"source:f:{n}") for n in (3, 4)]
    report.committed(Batch([Outgoing(b"k", b"v")] * 5, rejects, {"": b"9"}), 0.01)
    assert registry.get_sample_value("trelay_system_events_published_total", {"source": "orders"}) == 5
    assert registry.get_sample_value("trelay_system_rejects_total", {"source": "orders"}) == 2
    assert "2 to the dead letter; the first, source:f:3: no JSON" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    assert report.condition.position == {"": "9"}
