"""What the experience layer counts. Every label is from a list that is known here, but for the names of sources."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.experience_api import refusals
from services.experience_api.hub import close_codes
from services.experience_api.hub.hub import HubCounts
from services.experience_api.stream.catch_up import ResumeCounts
from services.experience_api.stream.delivery import Counts
from shared.http.metrics import closed

_DELAY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_SOURCES_LIMIT = 200
_OTHERS = "others"

ACCEPTED = "accepted"


class ExperienceMetrics:
    """One set of metrics, in the registry that is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        outcomes = [ACCEPTED, *(refusal.code for refusal in refusals.ALL)]

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Counter:
            return Counter(f"trelay_experience_{name}", text, tuple(labels), registry=registry)

        self.handshakes = closed(
            counter("handshakes_total", "Requests for the stream, by what became of them.", ["outcome"]), outcomes
        )
        self.registrations = closed(
            counter("registrations_total", "Calls of /consumers, by what became of them.", ["outcome"]), outcomes
        )
        self.pushes = closed(
            counter("pushes_total", "Calls of /entity, by what became of them.", ["outcome"]), outcomes
        )
        self.pushed_events = counter("pushed_events_total", "Events that came by /entity and are on the bus.")
        self.inbound = counter("inbound_total", "Messages of clients that may send, which are on the bus.")
        self.sends_refused = counter("sends_refused_total", "Consumers that sent something and were closed for it.")
        self._delay = Histogram(
            "trelay_experience_delay_seconds",
            "From this relay first holding an event to its frame being written.",
            ["source"],
            buckets=_DELAY_SECONDS,
            registry=registry,
        )
        self._sources: set[str] = set()

    def delayed(self, source: str, seconds: float) -> None:
        """Note how long an event of a source took; sources beyond some number share one series."""
        if source not in self._sources:
            if len(self._sources) >= _SOURCES_LIMIT:
                source = _OTHERS
            self._sources.add(source)
        self._delay.labels(source).observe(seconds)


class DeliveryCollector(Collector):
    """What the stream counts, read when it is asked for: it counts plain numbers where every nanosecond matters."""

    def __init__(self, counts: Callable[[], Counts | None]) -> None:
        """`counts` returns None as long as there is no stream."""
        self._counts = counts

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without asking."""
        return self._metrics(None)

    def collect(self) -> Iterator[Metric]:
        """Ask the stream."""
        return self._metrics(self._counts())

    def _metrics(self, counts: Counts | None) -> Iterator[Metric]:
        def counter(name: str, text: str, value: int) -> Metric:
            return CounterMetricFamily(f"trelay_experience_{name}", text, value=value)

        def gauge(name: str, text: str, value: int) -> Metric:
            return GaugeMetricFamily(f"trelay_experience_{name}", text, value=value)

        hub, resume = (counts.hub, counts.resume) if counts is not None else (HubCounts(), ResumeCounts())
        yield gauge("connections", "Consumers connected to this replica.", counts.connections if counts else 0)
        yield gauge("catching_up", "Connections that are fed from the past.", counts.catching_up if counts else 0)
        yield gauge("history_bytes", "Events held in memory to resume from.", counts.history_bytes if counts else 0)
        yield counter("batches", "Batches read from the bus.", hub.batches)
        yield counter("events", "Events read from the bus.", hub.events)
        yield counter("deliveries", "Events times the connections they were written to.", hub.deliveries)
        yield counter("lagging", "Times that a connection fell behind its bound.", hub.lagging)
        yield counter("resumes", "Connections that were fed from the past.", resume.begun)
        yield counter("resumes_from_bus", "Portions of the past that memory did not hold.", resume.from_bus)
        yield counter("gaps", "Gaps that subscribers were told of.", resume.gaps)
        yield counter("malformed", "Records that no subscriber can be given.", counts.malformed if counts else 0)
        endings = CounterMetricFamily(
            "trelay_experience_endings", "Connections that ended, by reason.", labels=["reason"]
        )
        for reason in close_codes.ALL:
            endings.add_metric([reason.name], hub.endings[reason.name])
        yield endings
