"""A source that is down moves between replicas: people get one mail at the beginning and one at the end."""

from prometheus_client import CollectorRegistry

from services.system_api.sources.source import Batch
from services.system_api.supervisor.description import describe
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.reporting import Reporter
from shared.alerts import RecordingAlerts
from shared.alerts.recording import AlertCall
from shared.runtime.clock import SYSTEM_CLOCK


class Replica:
    def __init__(self, alerts: RecordingAlerts) -> None:
        self.alerts = alerts
        metrics = SystemMetrics(CollectorRegistry(), ["orders"])
        self.report = Reporter("orders", alerts, metrics, SYSTEM_CLOCK)

    def published(self) -> dict[str, object]:
        return describe(self.report.measure(), SYSTEM_CLOCK.time())


class SilentAlerts(RecordingAlerts):
    """Alerts that no mail has reported yet."""

    def reported(self, kind: str, place: str) -> bool:
        return False


def methods(alerts: RecordingAlerts) -> list[str]:
    return [call.method for call in alerts.calls]


def test_the_next_owner_reports_the_end_of_what_the_last_one_reported() -> None:
    one, two = Replica(RecordingAlerts()), Replica(RecordingAlerts())
    one.report.polled(Batch(problems=("a.csv: no header",)), 0.01)
    one.report.down("connection refused")
    two.report.adopt(one.published())
    one.report.standby()
    assert methods(one.alerts) == ["begin", "begin", "hand_over", "hand_over"]
    assert one.alerts.open == set()
    assert two.alerts.open == {("source", "orders"), ("part of source", "orders: a.csv")}
    two.report.down("connection refused")
    two.report.polled(Batch(), 0.01)
    two.report.progressed(caught_up=True)
    assert methods(two.alerts) == ["adopt", "adopt", "end", "end"]


def test_the_next_owner_reports_the_beginning_that_the_last_one_could_not_report() -> None:
    one, two = Replica(SilentAlerts()), Replica(RecordingAlerts())
    one.report.down("connection refused")
    two.report.adopt(one.published())
    one.report.standby()
    assert two.alerts.calls == []
    two.report.down("connection refused")
    assert methods(two.alerts) == ["begin"]


def test_a_source_that_works_hands_nothing_over() -> None:
    one, two = Replica(RecordingAlerts()), Replica(RecordingAlerts())
    one.report.progressed(caught_up=True)
    two.report.adopt(one.published())
    one.report.standby()
    assert (one.alerts.calls, two.alerts.calls) == ([], [])
    assert two.report.status.outage_since is None


def test_a_replica_that_starts_leaves_what_it_reported_to_the_owner() -> None:
    one = Replica(RecordingAlerts())
    one.report.disclaim()
    assert one.alerts.calls == [AlertCall("hand_over", "source", "orders", "")]
