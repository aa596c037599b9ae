"""Alerts to DevOps by e-mail.

    async with alerting(settings.alerts, readiness=…, registry=…) as alerts:
        alerts.begin("source", "orders", "cannot connect to db:5432: connection refused")
        alerts.end("source", "orders")
        alerts.event("consumer sends", "client demo", "sent 12 bytes and was closed")

One mail reports that a problem begins, others repeat it while it lasts, one reports its end. Changes at the same time
share a mail, and the number of mails an hour is limited. The calls return at once and never fail. A mail server that is
down delays mails and nothing else.
"""

from shared.alerts.alerting import Alerts, alerting
from shared.alerts.options import AlertOptions, SmtpOptions
from shared.alerts.recording import RecordingAlerts

__all__ = ["AlertOptions", "Alerts", "RecordingAlerts", "SmtpOptions", "alerting"]
