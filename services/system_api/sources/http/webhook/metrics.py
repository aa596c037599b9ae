"""The metrics of webhooks. Labels are sources and codes of refusals: bounded by the settings."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.system_api.sources.http.webhook.inbox.delivery import Fill
from services.system_api.sources.http.webhook.refusals import REFUSALS, UNKNOWN_SOURCE

ACCEPTED, REPEATED, CHALLENGE, FAILED = "accepted", "repeated", "challenge", "failed"
_OUTCOMES = (ACCEPTED, REPEATED, CHALLENGE, FAILED)


class WebhookMetrics:
    """The metrics of all webhook sources."""

    def __init__(self, registry: CollectorRegistry, sources: Iterable[str]) -> None:
        """Register the metrics; every series of `sources` exists from the start and reads 0."""

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"trelay_webhook_{name}", text, ["source"], registry=registry)

        self._requests = Counter(
            "trelay_webhook_requests_total",
            "Requests to POST /hooks/{source}, by what came of them.",
            ["source", "outcome"],
            registry=registry,
        )
        self._early = Counter(
            "trelay_webhook_ids_forgotten_early_total",
            "Ids of deliveries that were forgotten before the window ended, because there were too many.",
            ["source"],
            registry=registry,
        )
        self._rows = gauge("inbox_deliveries", "Deliveries that wait to be published.")
        self._bytes = gauge("inbox_bytes", "Bytes of the bodies that wait to be published.")
        self._ids = gauge("remembered_ids", "Ids of deliveries by which a repeated one is recognised.")
        codes = [refusal.code.replace("-", "_") for refusal in REFUSALS if refusal is not UNKNOWN_SOURCE]
        self._series = {
            (source, outcome): self._requests.labels(source, outcome)
            for source in sources
            for outcome in (*_OUTCOMES, *codes)
        }
        for source in {source for source, _ in self._series}:
            for metric in (self._rows, self._bytes, self._ids):
                metric.labels(source)
            self._early.labels(source)

    def count(self, source: str, outcome: str) -> None:
        """Count a request; the outcome is one of the constants above, or the code of a refusal."""
        self._series[source, outcome.replace("-", "_")].inc()

    def note_fill(self, source: str, fill: Fill, forgotten_early: int) -> None:
        """Note how much is in the inbox of a source."""
        self._rows.labels(source).set(fill.rows)
        self._bytes.labels(source).set(fill.bytes)
        self._ids.labels(source).set(fill.ids)
        self._early.labels(source).inc(forgotten_early)
