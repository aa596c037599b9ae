"""What reaches the log, the metrics and the alerts."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import PAUSED, Reporter
from shared.alerts import RecordingAlerts
from shared.bus.protocol import TopicPartition
from shared.errors import PositionLost
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock
from tests.unit.services.process_api.making import batch, event, pipeline, record

POSITION = TopicPartition("trelay.ingest", 3)


class SteppedClock(SystemClock):
    def __init__(self) -> None:
        self.time_passed = 0.0

    def monotonic(self) -> float:
        return self.time_passed


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def alerts() -> RecordingAlerts:
    return RecordingAlerts()


@pytest.fixture
def reporter(alerts: RecordingAlerts, clock: SteppedClock) -> Reporter:
    return Reporter(alerts, ProcessMetrics(CollectorRegistry(), [pipeline()], SYSTEM_CLOCK), clock)


def test_dead_letters_are_one_line_a_batch_and_one_alert_a_pipeline(
    reporter: Reporter, alerts: RecordingAlerts, caplog: pytest.LogCaptureFixture
) -> None:
    made = batch(pipeline({"map": "missing"}))
    made.add([record(event({}), offset) for offset in range(5)] + [record(b"x", 5)])
    reporter.committed(POSITION, made, 0.01)
    (line,) = caplog.records
    assert line.message == "records dead-lettered"
    fields = {"topic": "trelay.ingest", "partition": 3, "count": 6, "first": "trelay.ingest/0/0"}
    assert fields.items() <= line.__dict__.items()
    assert line.__dict__["pipeline"].startswith("orders@")
    assert line.__dict__["error"].startswith("steps.0.map: ")
    assert [(told.method, told.kind, told.place) for told in alerts.calls] == [("event", "dead letter", "orders")]


def test_a_partition_that_waits_is_paused_until_it_commits(
    reporter: Reporter, alerts: RecordingAlerts, clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    reporter.paused(POSITION, "the price list does not answer")
    reporter.paused(POSITION, "the price list does not answer")
    assert alerts.open == {(PAUSED, "trelay.ingest/3")}
    clock.time_passed += 12.4
    made = batch(pipeline())
    made.add([record(event(1))])
    reporter.committed(TopicPartition("trelay.ingest", 2), made, 0.01)
    assert alerts.open == {(PAUSED, "trelay.ingest/3")}
    reporter.committed(POSITION, made, 0.01)
    assert alerts.open == set()
    assert caplog.messages == ["partition paused", "partition resumed"]
    began, ended = (line.__dict__ for line in caplog.records)
    assert (began["error"], ended["after_s"]) == ("the price list does not answer", 12.4)
    assert {(line["component"], line["topic"], line["partition"]) for line in (began, ended)} == {
        ("pipelines", "trelay.ingest", 3)
    }


def test_the_pause_of_a_partition_that_another_replica_took_over_ends(
    reporter: Reporter, alerts: RecordingAlerts
) -> None:
    reporter.paused(POSITION, "the price list does not answer")
    for _ in range(10):
        reporter.expire_pauses()
        reporter.expire_pauses()
        reporter.paused(POSITION, "the price list does not answer")
    assert alerts.open == {(PAUSED, "trelay.ingest/3")}
    for _ in range(7):
        reporter.expire_pauses()
    assert alerts.open == set()
    assert [told.method for told in alerts.calls].count("end") == 1


def test_lost_events_are_an_error(
    reporter: Reporter, alerts: RecordingAlerts, caplog: pytest.LogCaptureFixture
) -> None:
    reporter.position_lost(PositionLost("trelay.ingest", 3, 10, 15))
    assert [told.kind for told in alerts.calls] == ["events lost"]
    (line,) = caplog.records
    assert (line.levelname, line.message) == ("ERROR", "events lost to retention, resuming at the earliest offset")
    assert {"partition": 3, "offset": 10, "earliest": 15, "count": 5}.items() <= line.__dict__.items()


def test_a_transaction_that_is_too_large_is_logged(reporter: Reporter, caplog: pytest.LogCaptureFixture) -> None:
    reporter.too_large(POSITION, "2 MiB, the limit is 1")
    (line,) = caplog.records
    assert line.message == "transaction too large, retrying its records individually"
    fields = {"topic": "trelay.ingest", "partition": 3, "error": "2 MiB, the limit is 1"}
    assert fields.items() <= line.__dict__.items()


class Later(SteppedClock):
    """Two seconds after the records of these tests were written."""

    def time(self) -> float:
        return 1_700_000_002.001


def test_the_event_that_waited_longest_shows_how_long_its_hop_took(alerts: RecordingAlerts) -> None:
    registry, clock = CollectorRegistry(), Later()
    reporter = Reporter(alerts, ProcessMetrics(registry, [pipeline()], clock), clock)
    taken, left_out = batch(pipeline()), batch(pipeline({"filter": "n > 1"}))
    records = [record(event({"n": 1}), offset) for offset in range(3)]
    for each in (taken, left_out):
        each.add(records)
        reporter.ran(each, records[:2])
        reporter.ran(each, records[2:])
        reporter.committed(POSITION, each, 0.1)
    labels = {"hop": "process", "source": "orders"}
    assert registry.get_sample_value("trelay_hop_seconds_count", labels) == 1
    assert registry.get_sample_value("trelay_hop_seconds_sum", labels) == pytest.approx(2.0)
