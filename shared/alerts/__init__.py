"""The one way to e-mail DevOps.

    async with alerting(settings.alerts, readiness=…, registry=…) as alerts:
        alerts.begin("source", "orders", "cannot connect to db:5432: connection refused")
        alerts.end("source", "orders")
        alerts.event("consumer sends", "client demo", "sent 12 bytes and was closed")

One mail when a problem begins, a digest while it lasts, one when it ends; whatever happens at the same time shares a
mail, and an hour has only so many. The calls return at once and never fail. A mail server that is down delays mails
and nothing else.
"""

from shared.alerts.alerting import Alerts, alerting
from shared.alerts.options import AlertOptions, SmtpOptions
from shared.alerts.recording import RecordingAlerts
from shared.alerts.smtp import probe

__all__ = ["AlertOptions", "Alerts", "RecordingAlerts", "SmtpOptions", "alerting", "probe"]
