"""What people are told."""

import logging

import pytest
from prometheus_client import CollectorRegistry

from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import Reporter
from shared.alerts import RecordingAlerts
from shared.bus.protocol import TopicPartition
from shared.errors import PositionLost
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.process_api.making import batch, event, pipeline, record

POSITION = TopicPartition("trelay.ingest", 3)


@pytest.fixture
def alerts() -> RecordingAlerts:
    return RecordingAlerts()


@pytest.fixture
def reporter(alerts: RecordingAlerts) -> Reporter:
    return Reporter(alerts, ProcessMetrics(CollectorRegistry(), [pipeline()], SYSTEM_CLOCK))


def test_dead_letters_are_one_line_a_batch_and_one_alert_a_pipeline(
    reporter: Reporter, alerts: RecordingAlerts, caplog: pytest.LogCaptureFixture
) -> None:
    made = batch(pipeline({"map": "missing"}))
    made.take([record(event({}), offset) for offset in range(5)] + [record(b"x", 5)])
    reporter.committed(POSITION, made, 0.01)
    (line,) = caplog.messages
    assert ": 6 to the dead letter; the first, trelay.ingest/0/0: steps.0.map: " in line
    assert [(told.what, told.kind, told.place) for told in alerts.told] == [("event", "dead letter", "orders")]


def test_a_partition_that_waits_is_a_problem_until_it_goes_on(reporter: Reporter, alerts: RecordingAlerts) -> None:
    reporter.halted(POSITION, "the price list does not answer")
    reporter.halted(POSITION, "the price list does not answer")
    assert alerts.open == {("process", "trelay.ingest/3")}
    made = batch(pipeline())
    made.take([record(event(1))])
    reporter.committed(TopicPartition("trelay.ingest", 2), made, 0.01)
    assert alerts.open == {("process", "trelay.ingest/3")}
    reporter.committed(POSITION, made, 0.01)
    assert alerts.open == set()


def test_a_partition_that_went_to_another_replica_is_no_problem_of_ours(
    reporter: Reporter, alerts: RecordingAlerts
) -> None:
    reporter.halted(POSITION, "the price list does not answer")
    for _ in range(10):
        reporter.look()
        reporter.look()
        reporter.halted(POSITION, "the price list does not answer")
    assert alerts.open == {("process", "trelay.ingest/3")}
    for _ in range(7):
        reporter.look()
    assert alerts.open == set()
    assert [told.what for told in alerts.told].count("end") == 1


def test_lost_events_are_an_error(
    reporter: Reporter, alerts: RecordingAlerts, caplog: pytest.LogCaptureFixture
) -> None:
    reporter.lost(PositionLost("trelay.ingest", 3, 10, 15))
    assert [told.kind for told in alerts.told] == ["events lost"]
    assert "events were lost" in caplog.text


def test_the_search_for_what_is_too_large_is_told(reporter: Reporter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        reporter.too_large(POSITION, "2 MiB, the limit is 1")
    assert caplog.messages == ["trelay.ingest/3: 2 MiB, the limit is 1; what it was made of is tried one by one"]
