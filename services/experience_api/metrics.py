"""The metrics of the experience layer. Every label value is from a fixed list, except the names of sources."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.experience_api import refusals
from services.experience_api.hub import close_codes
from services.experience_api.hub.filters import COUNTS as FILTER_COUNTS
from services.experience_api.hub.hub import HubCounts
from services.experience_api.latest.copying import CopyCounts
from services.experience_api.stream.callbacks import Counts
from services.experience_api.stream.catching_up.replay_writer import CatchUpCounts
from services.experience_api.stream.snapshots.sending import SnapshotCounts
from services.experience_api.wire.deflate import CompressionCounts
from shared.bus.protocol import Record
from shared.events.headers import provenance_in
from shared.http.metrics import closed
from shared.telemetry.hops import Hop, hop_seconds

_DELAY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_SOURCES_LIMIT = 200
_OTHERS = "others"

ACCEPTED = "accepted"


class ExperienceMetrics:
    """The metrics that are updated as things happen, in a given registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        outcomes = [ACCEPTED, *(refusal.label for refusal in refusals.ALL)]

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Counter:
            return Counter(f"trelay_experience_{name}", text, tuple(labels), registry=registry)

        self.handshakes = closed(
            counter("handshakes_total", "Requests for the stream, by outcome.", ["outcome"]), outcomes
        )
        self.registrations = closed(
            counter("registrations_total", "Requests to /consumers, by outcome.", ["outcome"]), outcomes
        )
        self.tickets = closed(counter("tickets_total", "Requests to /tickets, by outcome.", ["outcome"]), outcomes)
        self.subscriptions = closed(
            counter("subscriptions_total", "Requests to /subscriptions, by outcome.", ["outcome"]), outcomes
        )
        self.pushes = closed(counter("pushes_total", "Requests to /entity, by outcome.", ["outcome"]), outcomes)
        self.pushed_events = counter("pushed_events_total", "Events accepted on /entity and stored on the bus.")
        self.repeated_events = counter(
            "repeated_events_total", "Events pushed again to /entity with a key, and not published again."
        )
        self.inbound = counter("inbound_total", "Messages of clients that may send, stored on the bus.")
        self.sends_refused = counter(
            "sends_refused_total", "Connections closed because the consumer sent without permission."
        )
        self._delay = Histogram(
            "trelay_experience_delay_seconds",
            "Seconds from when this relay first held an event to the write of its frame.",
            ["source"],
            buckets=_DELAY_SECONDS,
            registry=registry,
        )
        self._sources: set[str] = set()
        self._hops = hop_seconds(registry)

    def written(self, record: Record, now: float) -> None:
        """Observe how long an event took from the publish topic to the sockets; it was just written to them."""
        if (provenance := provenance_in(record.headers)) is not None:
            self._hops.observe(Hop.DELIVER, provenance.source, now - record.timestamp / 1000, record)

    def delayed(self, source: str, seconds: float) -> None:
        """Observe the delay of an event of a source. Sources beyond a limit share one series."""
        if source not in self._sources:
            if len(self._sources) >= _SOURCES_LIMIT:
                source = _OTHERS
            self._sources.add(source)
        self._delay.labels(source).observe(seconds)


class DeliveryCollector(Collector):
    """Exports the counts of the stream, which are plain integers because each delivery updates them."""

    def __init__(self, counts: Callable[[], Counts | None]) -> None:
        """`counts` returns None while there is no stream."""
        self._counts = counts

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without reading the counts."""
        return self._metrics(None)

    def collect(self) -> Iterator[Metric]:
        """Read the counts."""
        return self._metrics(self._counts())

    def _metrics(self, counts: Counts | None) -> Iterator[Metric]:
        def counter(name: str, text: str, value: int) -> Metric:
            return CounterMetricFamily(f"trelay_experience_{name}", text, value=value)

        def gauge(name: str, text: str, value: int) -> Metric:
            return GaugeMetricFamily(f"trelay_experience_{name}", text, value=value)

        hub, catch_up = (counts.hub, counts.catch_up) if counts is not None else (HubCounts(), CatchUpCounts())
        yield gauge("connections", "Consumers connected to this replica.", counts.connections if counts else 0)
        yield gauge("catching_up", "Connections that are catching up.", counts.catching_up if counts else 0)
        yield gauge(
            "history_bytes",
            "Memory used by the events that subscribers resume from.",
            counts.history_bytes if counts else 0,
        )
        yield counter("batches", "Batches read from the bus.", hub.batches)
        yield counter("events", "Events read from the bus.", hub.events)
        deliveries = hub.deliveries + catch_up.deliveries
        yield counter("deliveries", "Events delivered, once per connection, live or catching up.", deliveries)
        yield counter("lagging", "Times that a connection exceeded its outbox and had to catch up.", hub.lagging)
        yield counter("catch_ups", "Times that a connection began to catch up.", catch_up.started)
        yield counter(
            "catch_up_log_reads", "Chunks read from the bus for connections that catch up.", catch_up.log_reads
        )
        yield gauge(
            "conflated_connections",
            "Connections with conflation.",
            counts.conflated_connections if counts else 0,
        )
        yield counter(
            "conflated_events",
            "Events that connections with conflation did not receive, because a later one of their subject followed.",
            catch_up.conflated,
        )
        snapshots = counts.snapshots if counts else SnapshotCounts()
        yield gauge(
            "snapshot_connections", "Connections that receive a snapshot.", counts.receiving_snapshots if counts else 0
        )
        yield counter("snapshots", "Snapshots begun, or continued by a connection.", snapshots.begun)
        yield counter("snapshot_events", "Events sent in snapshots.", snapshots.events)
        yield counter("gaps", "Gap events sent to connections that catch up.", catch_up.gaps)
        yield counter(
            "malformed", "Records skipped because they are not valid events.", counts.malformed if counts else 0
        )
        yield counter(
            "filter_evaluations",
            "Events on which a filter was evaluated, once for all connections that have it.",
            FILTER_COUNTS.evaluations,
        )
        yield counter(
            "filter_failures", "Those on which it failed, and that were delivered therefore.", FILTER_COUNTS.failures
        )
        compression = counts.compression if counts else CompressionCounts()
        yield gauge(
            "compressed_connections",
            "Connections that receive compressed events.",
            counts.compressed_connections if counts else 0,
        )
        yield counter("compressed_frames", "Frames compressed, each once for all connections.", compression.frames)
        yield counter(
            "compression_bytes_before", "Bytes of the compressed frames before compression.", compression.bytes_before
        )
        yield counter(
            "compression_bytes_after", "Bytes of the compressed frames after compression.", compression.bytes_after
        )
        endings = CounterMetricFamily(
            "trelay_experience_endings", "Connections that ended, by close reason.", labels=["reason"]
        )
        for reason in close_codes.ALL:
            endings.add_metric([reason.label], hub.endings[reason.label])
        yield endings


class LatestCollector(Collector):
    """Exports how the latest events are copied."""

    def __init__(self, counts: CopyCounts, head: Callable[[], Sequence[int]]) -> None:
        """`head` returns the offsets up to which this replica has read the publish topic."""
        self._counts = counts
        self._head = head

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without reading the counts."""
        return self._metrics(())

    def collect(self) -> Iterator[Metric]:
        """Read the counts."""
        return self._metrics(self._head())

    def _metrics(self, head: Sequence[int]) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "trelay_experience_latest_changes",
            "Latest events that this replica has written to the database, or removed.",
            value=self._counts.written,
        )
        behind = GaugeMetricFamily(
            "trelay_experience_latest_behind",
            "Records that the latest events do not include yet, by partition, on the replica that copies them.",
            labels=["partition"],
        )
        for partition, position in self._counts.positions.items():
            if partition < len(head):
                behind.add_metric([str(partition)], max(0, head[partition] - position))
        yield behind
