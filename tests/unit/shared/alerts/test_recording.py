"""Alerts for tests."""

from shared.alerts import Alerts, RecordingAlerts
from shared.alerts.recording import AlertCall


def test_calls_are_recorded() -> None:
    recording = RecordingAlerts()
    alerts: Alerts = recording
    alerts.begin("source", "orders", "refused")
    alerts.begin("source", "rates", "refused")
    alerts.event("consumer sends", "demo", "12 bytes")
    alerts.end("source", "orders")
    alerts.end("source", "never begun")
    assert recording.calls[2] == AlertCall("event", "consumer sends", "demo", "12 bytes")
    assert recording.open == {("source", "rates")}
    alerts.adopt("source", "stock", "refused", 0.0)
    assert alerts.reported("source", "stock")
    alerts.hand_over("source", "rates")
    assert recording.open == {("source", "stock")}
