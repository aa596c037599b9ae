"""What reaches the alerts, the log and the metrics."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from services.system_api.operations.checkpoints import OwnPart
from services.system_api.sources.source import Batch, Loss
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.status import State
from shared.alerts import RecordingAlerts
from shared.bus.protocol import Outgoing
from shared.events.dead_letter import Reject
from shared.events.headers import headers_of
from shared.runtime.clock import SystemClock


def reporter() -> tuple[Reporter, CollectorRegistry]:
    registry = CollectorRegistry()
    return Reporter("orders", RecordingAlerts(), SystemMetrics(registry, ["orders"]), SystemClock()), registry


def fields(record: logging.LogRecord) -> dict[str, object]:
    standard = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}
    return {name: value for name, value in record.__dict__.items() if name not in standard}


def test_a_blocked_source_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    report, _ = reporter()
    for _ in range(3):
        report.blocked("no broker")
    assert [(record.message, fields(record)) for record in caplog.records] == [
        ("source blocked", {"component": "source", "source": "orders", "error": "no broker"})
    ]
    assert report.status.state is State.BLOCKED


def test_retries_are_counted_and_the_first_one_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    report, registry = reporter()
    for _ in range(3):
        report.retrying("refused")
    assert registry.get_sample_value("trelay_system_retries_total", {"source": "orders"}) == 3
    assert [(record.message, fields(record)["error"]) for record in caplog.records] == [
        ("source unavailable; retrying", "refused")
    ]


def test_a_replica_shows_nothing_of_a_source_that_it_has_left() -> None:
    report, registry = reporter()
    report.polled(Batch(waiting=("a line without its end",), slot_lag=20 * 1024**3, rows=3), 0.01)
    names = ["trelay_source_waiting", "trelay_source_slot_lag_bytes", "trelay_source_unaccounted_rows"]
    assert registry.get_sample_value(names[1], {"source": "orders"}) == 20 * 1024**3
    report.standby()
    assert [registry.get_sample_value(name, {"source": "orders"}) for name in names] == [0, 0, 0]
    assert report.status.waiting == ()


def test_starting_does_not_hide_an_outage() -> None:
    report, _ = reporter()
    report.starting()
    assert report.status.state.value == "starting"
    report.retrying("refused")
    report.down("refused")
    report.starting()
    assert report.status.state.value == "down"


def test_a_commit_counts_its_rejects_and_logs_the_first(caplog: pytest.LogCaptureFixture) -> None:
    report, registry = reporter()
    rejects = [Reject(f"orders:{n}", b"", "no JSON", "source", f"source:f:{n}") for n in (3, 4)]
    report.committed(Batch([Outgoing(b"k", b"v")] * 5, rejects, {"": b"9"}), OwnPart(), 0.01)
    assert registry.get_sample_value("trelay_system_events_published_total", {"source": "orders"}) == 5
    assert registry.get_sample_value("trelay_system_rejects_total", {"source": "orders"}) == 2
    (logged,) = caplog.records
    assert (logged.levelno, logged.message) == (logging.WARNING, "records dead-lettered")
    assert fields(logged) == {
        "component": "source",
        "source": "orders",
        "count": 2,
        "first": "source:f:3",
        "error": "no JSON",
    }
    assert report.status.position == {"": "9"}


def test_messages_that_came_again_and_those_that_were_parked_are_counted() -> None:
    report, registry = reporter()
    labels = {"source": "orders"}
    assert registry.get_sample_value("trelay_source_redelivered_total", labels) == 0
    assert registry.get_sample_value("trelay_source_parked_total", labels) == 0
    batch = Batch(rejects=[Reject("orders:1", b"", "delivered 5 times", "source", "f:1")], redelivered=3, parked=1)
    report.polled(batch, 0.01)
    report.committed(batch, OwnPart().after(batch), 0.01)
    assert registry.get_sample_value("trelay_source_redelivered_total", labels) == 3
    assert registry.get_sample_value("trelay_source_parked_total", labels) == 1


class SteppedClock(SystemClock):
    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


def test_every_outage_that_is_logged_has_one_line_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = SteppedClock()
    report = Reporter("orders", RecordingAlerts(), SystemMetrics(CollectorRegistry(), ["orders"]), clock)
    begins = [report.blocked, report.retrying, report.down, report.failed]
    for begin in begins:
        begin("refused")
        clock.at += 12.4
        report.progressed(caught_up=True)
        report.progressed(caught_up=True)
    report.down("refused")
    report.standby()
    report.polled(Batch(problems=("a.csv: Permission denied",)), 0.01)
    clock.at += 3
    report.polled(Batch(), 0.01)
    assert [(record.message, fields(record).get("after_s")) for record in caplog.records] == [
        ("source blocked", None),
        ("source recovered", 12.4),
        ("source unavailable; retrying", None),
        ("source recovered", 12.4),
        ("source down; probing", None),
        ("source recovered", 12.4),
        ("source failed; restarting", None),
        ("source recovered", 12.4),
        ("source down; probing", None),
        ("source stopped; waiting for its lease", 0.0),
        ("source degraded", None),
        ("source no longer degraded", 3.0),
    ]


def test_an_outage_of_many_kinds_has_one_recovery(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report, _ = reporter()
    report.blocked("no broker")
    report.retrying("refused")
    report.down("refused")
    report.failed("KeyError: 'id'")
    report.progressed(caught_up=False)
    messages = [record.message for record in caplog.records]
    assert messages == ["source blocked", "source unavailable; retrying", "source down; probing", "source recovered"]


def test_each_loss_is_counted_and_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    report, registry = reporter()
    report.polled(Batch(losses=(Loss("a.log: gone after byte 5", 12), Loss("b.log: gone"))), 0.01)
    report.polled(Batch(), 0.01)
    assert registry.get_sample_value("trelay_source_losses_total", {"source": "orders"}) == 2
    assert registry.get_sample_value("trelay_source_lost_bytes_total", {"source": "orders"}) == 12
    assert [(record.levelno, record.message, fields(record)["error"]) for record in caplog.records] == [
        (logging.ERROR, "data lost at the source", "a.log: gone after byte 5"),
        (logging.ERROR, "data lost at the source", "b.log: gone"),
    ]


def test_rows_that_are_in_nothing_are_a_metric_that_is_not_0() -> None:
    report, registry = reporter()
    assert registry.get_sample_value("trelay_source_unaccounted_rows", {"source": "orders"}) == 0
    report.counted(OwnPart(rows=10, published=7, rejected=1, skipped=1))
    assert registry.get_sample_value("trelay_source_unaccounted_rows", {"source": "orders"}) == 1
    report.standby()
    assert registry.get_sample_value("trelay_source_unaccounted_rows", {"source": "orders"}) == 0, "another counts on"


def test_what_waits_is_shown_until_it_is_over() -> None:
    report, registry = reporter()
    report.polled(Batch(waiting=("a.csv: a quote is open since line 3",)), 0.01)
    assert report.status.waiting == ("a.csv: a quote is open since line 3",)
    assert registry.get_sample_value("trelay_source_waiting", {"source": "orders"}) == 1
    report.polled(Batch(), 0.01)
    assert not report.status.waiting
    assert registry.get_sample_value("trelay_source_waiting", {"source": "orders"}) == 0


def test_each_file_that_was_taken_early_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    report, registry = reporter()
    report.polled(Batch(taken_early=("a.csv: changed after it was read",)), 0.01)
    report.polled(Batch(), 0.01)
    assert registry.get_sample_value("trelay_source_taken_early_total", {"source": "orders"}) == 1
    assert [(record.levelno, record.message, fields(record)["error"]) for record in caplog.records] == [
        (logging.WARNING, "file changed after it was read; reading it again", "a.csv: changed after it was read")
    ]


def test_a_commit_shows_how_long_its_first_event_took() -> None:
    report, registry = reporter()
    now = int(SystemClock().time() * 1000)
    for headers in (headers_of(f"orders {now - 1500} orders:1".encode()), ()):
        report.committed(Batch(records=[Outgoing(b"k", b"{}", headers)]), OwnPart(), 0.1)
    report.committed(Batch(), OwnPart(), 0.1)
    labels = {"hop": "commit", "source": "orders"}
    assert registry.get_sample_value("trelay_hop_seconds_count", labels) == 1
    assert 1.4 < (registry.get_sample_value("trelay_hop_seconds_sum", labels) or 0) < 60
