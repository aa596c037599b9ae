from prometheus_client import CollectorRegistry

from services.experience_api import refusals
from services.experience_api.hub import close_codes
from services.experience_api.hub.hub import HubCounts
from services.experience_api.metrics import ACCEPTED, DeliveryCollector, ExperienceMetrics
from services.experience_api.stream.catch_up import ResumeCounts
from services.experience_api.stream.delivery import Counts


def test_every_outcome_reads_zero_before_anything_has_happened() -> None:
    registry = CollectorRegistry()
    ExperienceMetrics(registry)
    for name in ("handshakes_total", "registrations_total", "pushes_total"):
        for outcome in (ACCEPTED, *(refusal.code for refusal in refusals.ALL)):
            assert registry.get_sample_value(f"trelay_experience_{name}", {"outcome": outcome}) == 0


def test_sources_beyond_a_bound_share_one_series() -> None:
    registry = CollectorRegistry()
    metrics = ExperienceMetrics(registry)
    for number in range(300):
        metrics.delayed(f"source-{number}", 0.01)
    count = "trelay_experience_delay_seconds_count"
    assert registry.get_sample_value(count, {"source": "source-0"}) == 1
    assert registry.get_sample_value(count, {"source": "source-299"}) is None
    assert registry.get_sample_value(count, {"source": "others"}) == 100


def test_what_the_stream_counts_is_read_when_it_is_asked_for() -> None:
    registry = CollectorRegistry()
    found: list[Counts | None] = [None]
    registry.register(DeliveryCollector(lambda: found[0]))
    deliveries, endings = "trelay_experience_deliveries_total", "trelay_experience_endings_total"
    assert registry.get_sample_value(deliveries) == 0
    hub = HubCounts(deliveries=70)
    hub.endings[close_codes.TOO_SLOW.name] += 2
    found[0] = Counts(hub, ResumeCounts(gaps=1), 3, 40, 5000, 6)
    assert registry.get_sample_value(deliveries) == 70
    assert registry.get_sample_value(endings, {"reason": "too slow"}) == 2
    assert registry.get_sample_value(endings, {"reason": "draining"}) == 0
    assert registry.get_sample_value("trelay_experience_connections") == 40
    assert registry.get_sample_value("trelay_experience_gaps_total") == 1
    assert registry.get_sample_value("trelay_experience_malformed_total") == 6
