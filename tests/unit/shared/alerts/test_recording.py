from shared.alerts import Alerts, RecordingAlerts
from shared.alerts.recording import Told


def test_keeps_what_it_is_told() -> None:
    recording = RecordingAlerts()
    alerts: Alerts = recording
    alerts.begin("source", "orders", "refused")
    alerts.begin("source", "rates", "refused")
    alerts.event("consumer sends", "demo", "12 bytes")
    alerts.end("source", "orders")
    alerts.end("source", "never begun")
    assert recording.told[2] == Told("event", "consumer sends", "demo", "12 bytes")
    assert recording.open == {("source", "rates")}
