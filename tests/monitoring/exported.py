"""Every metric that the services export, with the values that its labels can have."""

from functools import cache

from prometheus_client import CollectorRegistry

from services.experience_api.metrics import DeliveryCollector, ExperienceMetrics
from services.process_api.worker.metrics import ProcessMetrics
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.supervisor.metrics import SystemMetrics
from shared.alerts import RecordingAlerts
from shared.alerts.mailer import MailerMetrics, NotifierMetrics
from shared.bus.protocol import Outgoing
from shared.composition.clocks import ClockComparison, ReferenceClock
from shared.composition.settings_metrics import show_settings_file
from shared.http.server import Health
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.reloading import SettingsFile
from shared.settings import Options
from shared.telemetry.hops import Hop, hop_seconds

Samples = dict[str, list[dict[str, str]]]


async def _now() -> float:
    return 0.0


@cache
def samples() -> Samples:
    """Return the labels of each series by its name. Sources and pipelines have stand-ins for their names."""
    health = Health("system_api")
    health.readiness.require("bus")
    health.readiness.require("stream")
    health._process.refresh()
    registry: CollectorRegistry = health.registry
    health.certificates.expiry.labels("tls.crt")
    show_settings_file(SettingsFile(Options(), lambda _files: Options()), health)
    SystemMetrics(registry, ["orders"])
    WebhookMetrics(registry, ["orders"])
    MailerMetrics(registry)
    NotifierMetrics(registry).of("slack")
    ClockComparison(ReferenceClock(SYSTEM_CLOCK), _now, RecordingAlerts(), registry, "one")
    process = ProcessMetrics(registry, [], SYSTEM_CLOCK)
    for metric in (process.taken, process.published, process.rejected):
        metric.labels("orders")
    for metric in (process.forwarded, process.continued):
        metric.labels("orders", "2")
    process.step_seconds.labels("orders", "0.map")
    process.blocked_seconds.labels("orders", "0.map")
    process.set_lag({0: 0})
    ExperienceMetrics(registry).delayed("orders", 0.1)
    for hop in Hop:
        hop_seconds(registry).observe(hop, "orders", 0.1, Outgoing(b"", None))
    registry.register(DeliveryCollector(lambda: None))
    found: Samples = {}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found
