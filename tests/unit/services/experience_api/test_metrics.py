from prometheus_client import CollectorRegistry

from services.experience_api import refusals
from services.experience_api.hub import close_codes
from services.experience_api.hub.hub import HubCounts
from services.experience_api.latest.copying import CopyCounts
from services.experience_api.metrics import ACCEPTED, DeliveryCollector, ExperienceMetrics, LatestCollector
from services.experience_api.stream.callbacks import Counts
from services.experience_api.stream.catching_up.replay_writer import CatchUpCounts
from services.experience_api.stream.snapshots.sending import SnapshotCounts
from services.experience_api.wire.deflate import CompressionCounts
from shared.bus.memory.log import MemoryRecord
from shared.events.headers import headers_of


def test_every_outcome_is_zero_at_the_start() -> None:
    registry = CollectorRegistry()
    ExperienceMetrics(registry)
    for name in ("handshakes_total", "registrations_total", "pushes_total"):
        for outcome in (ACCEPTED, *(refusal.label for refusal in refusals.ALL)):
            assert registry.get_sample_value(f"trelay_experience_{name}", {"outcome": outcome}) == 0


def test_sources_beyond_the_limit_share_one_series() -> None:
    registry = CollectorRegistry()
    metrics = ExperienceMetrics(registry)
    for number in range(300):
        metrics.delayed(f"source-{number}", 0.01)
    count = "trelay_experience_delay_seconds_count"
    assert registry.get_sample_value(count, {"source": "source-0"}) == 1
    assert registry.get_sample_value(count, {"source": "source-299"}) is None
    assert registry.get_sample_value(count, {"source": "others"}) == 100


def test_the_counts_of_the_stream_are_read_on_collection() -> None:
    registry = CollectorRegistry()
    found: list[Counts | None] = [None]
    registry.register(DeliveryCollector(lambda: found[0]))
    deliveries, endings = "trelay_experience_deliveries_total", "trelay_experience_endings_total"
    assert registry.get_sample_value(deliveries) == 0
    hub = HubCounts(deliveries=70)
    hub.endings[close_codes.TOO_SLOW.label] += 2
    compression, snapshots = CompressionCounts(2, 900, 300), SnapshotCounts(begun=8, events=9)
    found[0] = Counts(hub, CatchUpCounts(deliveries=7, gaps=1), 3, 40, 5000, 6, compression, 5, 4, snapshots, 2)
    assert registry.get_sample_value(deliveries) == 77
    assert registry.get_sample_value(endings, {"reason": "too_slow"}) == 2
    assert registry.get_sample_value(endings, {"reason": "draining"}) == 0
    assert registry.get_sample_value("trelay_experience_connections") == 40
    assert registry.get_sample_value("trelay_experience_gaps_total") == 1
    assert registry.get_sample_value("trelay_experience_malformed_total") == 6
    assert registry.get_sample_value("trelay_experience_snapshot_connections") == 2
    assert registry.get_sample_value("trelay_experience_snapshots_total") == 8
    assert registry.get_sample_value("trelay_experience_snapshot_events_total") == 9
    assert registry.get_sample_value("trelay_experience_compressed_connections") == 5
    assert registry.get_sample_value("trelay_experience_compressed_frames_total") == 2
    assert registry.get_sample_value("trelay_experience_compression_bytes_before_total") == 900
    assert registry.get_sample_value("trelay_experience_compression_bytes_after_total") == 300


def test_what_is_written_shows_how_long_it_took_from_the_topic() -> None:
    registry = CollectorRegistry()
    metrics = ExperienceMetrics(registry)
    for headers in (headers_of(b"orders 5 orders:1"), (("trelay-provenance", b"?"),)):
        metrics.written(MemoryRecord("t", 0, 0, 1000, b"c", b"{}", headers), now=1.25)
    labels = {"hop": "deliver", "source": "orders"}
    assert registry.get_sample_value("trelay_hop_seconds_sum", labels) == 0.25
    assert registry.get_sample_value("trelay_hop_seconds_count", labels) == 1


def test_how_far_the_latest_events_are_behind_is_shown_for_the_partitions_that_this_replica_copies() -> None:
    registry, counts, head = CollectorRegistry(), CopyCounts(), [10, 20]
    registry.register(LatestCollector(counts, lambda: head))
    behind = "trelay_experience_latest_behind"
    assert registry.get_sample_value(behind, {"partition": "0"}) is None
    counts.written, counts.positions = 7, {0: 4, 1: 25, 2: 1}
    assert [registry.get_sample_value(behind, {"partition": str(number)}) for number in range(3)] == [6, 0, None]
    assert registry.get_sample_value("trelay_experience_latest_changes_total") == 7
