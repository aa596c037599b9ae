"""Every series exists from the start."""

from prometheus_client import CollectorRegistry

from services.system_api.sources.http.webhook.inbox.delivery import Fill
from services.system_api.sources.http.webhook.metrics import ACCEPTED, WebhookMetrics
from services.system_api.sources.http.webhook.refusals import REFUSALS, UNKNOWN_SOURCE


def test_every_outcome_is_a_series_that_reads_0() -> None:
    registry = CollectorRegistry()
    metrics = WebhookMetrics(registry, ["hooks"])

    def requests(outcome: str) -> float | None:
        labels = {"source": "hooks", "outcome": outcome}
        return registry.get_sample_value("trelay_webhook_requests_total", labels)

    for refusal in REFUSALS:
        outcome = refusal.code.replace("-", "_")
        assert requests(outcome) == (None if refusal is UNKNOWN_SOURCE else 0)
        if refusal is not UNKNOWN_SOURCE:
            metrics.count("hooks", refusal.code)
            assert requests(outcome) == 1
    metrics.count("hooks", ACCEPTED)
    assert requests("accepted") == 1


def test_the_fill_of_an_inbox() -> None:
    registry = CollectorRegistry()
    WebhookMetrics(registry, ["hooks"]).note_fill("hooks", Fill("e", 9, 1, 2, 3), forgotten_early=4)
    names = ("inbox_deliveries", "inbox_bytes", "remembered_ids", "ids_forgotten_early_total")
    found = [registry.get_sample_value(f"trelay_webhook_{name}", {"source": "hooks"}) for name in names]
    assert found == [1, 2, 3, 4]
