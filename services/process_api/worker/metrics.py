"""Metrics of the process layer. Each label is a pipeline, one of its steps or a partition: bounded by the settings."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.process_api.operations.statuses import StateSize
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.steps.scope import OnStep
from services.process_api.worker.batch import Batch
from shared.bus.protocol import Record
from shared.events.headers import provenance_in
from shared.runtime.clock import Clock
from shared.telemetry.hops import Hop, hop_seconds

_COMMIT_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STEP_SECONDS = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


class ProcessMetrics:
    """The metrics of one service."""

    def __init__(self, registry: CollectorRegistry, pipelines: Iterable[Pipeline], clock: Clock) -> None:
        """Each of `pipelines`, and each of its steps, reads 0 from the start: one that never ran is not absent."""

        def counter(name: str, text: str) -> Counter:
            return Counter(f"trelay_process_{name}", text, ["pipeline"], registry=registry)

        self.taken = counter("events_taken_total", "Events that a pipeline processed.")
        self.published = counter("events_published_total", "Events that a pipeline published.")
        self.rejected = counter("rejects_total", "Events that a pipeline sent to the dead letter.")
        self.forwarded, self.continued = (
            Counter(f"trelay_pipeline_{name}_total", text, ["pipeline", "part"], registry=registry)
            for name, text in (
                ("forwarded", "Events that were written to the ingest topic for this part of a pipeline."),
                ("continued", "Events that this part of a pipeline took from the ingest topic."),
            )
        )
        self.unclaimed = Counter(
            "trelay_process_unclaimed_total",
            "Dead letters of no pipeline: not an event, too large, or of a source that no pipeline takes.",
            registry=registry,
        )
        self.lost = Counter(
            "trelay_process_lost_total",
            "Events that retention deleted before they were read.",
            registry=registry,
        )
        self.step_seconds = Histogram(
            "trelay_process_step_seconds",
            "Duration of a step for the first event of a transaction; of one that waits, for all that it gets at once.",
            ["pipeline", "step"],
            buckets=_STEP_SECONDS,
            registry=registry,
        )
        self.blocked_seconds = Counter(
            "trelay_pipeline_blocked_seconds_total",
            "Seconds for which a step held a partition, because something that it needs did not answer.",
            ["pipeline", "step"],
            registry=registry,
        )
        self.state_keys, self.state_bytes = (
            Gauge(f"trelay_pipeline_state_{unit}", text, ["pipeline", "step"], registry=registry)
            for unit, text in (
                ("keys", "Keys that a step keeps in the partitions that this replica owns."),
                ("bytes", "Bytes of the keys that a step keeps, of what they hold and of its timers."),
            )
        )
        self.commit_seconds = Histogram(
            "trelay_process_commit_seconds",
            "From the first record that is read for a batch to its commit.",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.lag = Gauge(
            "trelay_process_lag_records",
            "Records that wait in the partitions that this replica owns; on Kafka, transaction markers count as well.",
            ["partition"],
            registry=registry,
        )
        self._hops = hop_seconds(registry)
        self._clock = clock
        self.declare(pipelines)

    def declare(self, pipelines: Iterable[Pipeline]) -> None:
        """Let the metrics of these pipelines read 0 until they run."""
        for pipeline in pipelines:
            for metric in (self.taken, self.published, self.rejected):
                metric.labels(pipeline.name)
            for part in range(1, pipeline.parts):
                for metric in (self.forwarded, self.continued):
                    metric.labels(pipeline.name, _part(part))
            for place in pipeline.places:
                self.step_seconds.labels(pipeline.name, place)
                self.blocked_seconds.labels(pipeline.name, place)

    def committed(self, batch: Batch, seconds: float) -> None:
        """Count a batch that became visible."""
        for pipeline, tally in batch.tallies.items():
            self.taken.labels(pipeline).inc(tally.taken)
            self.published.labels(pipeline).inc(tally.published)
            self.rejected.labels(pipeline).inc(tally.rejected)
            for metric, counts in ((self.forwarded, tally.forwarded), (self.continued, tally.continued)):
                for part, count in counts.items():
                    metric.labels(pipeline, _part(part)).inc(count)
        self.unclaimed.inc(batch.unclaimed)
        self.commit_seconds.observe(seconds)

    def processed(self, record: Record) -> None:
        """Observe how long an event took from the ingest topic to the commit of its results."""
        if (provenance := provenance_in(record.headers)) is not None:
            self._hops.observe(Hop.PROCESS, provenance.source, self._clock.time() - record.timestamp / 1000, record)

    def set_lag(self, records: Mapping[int, int]) -> None:
        """Set how many records wait, by partition; partitions that are not among them have no lag here."""
        self.lag.clear()
        for partition, waiting in records.items():
            self.lag.labels(str(partition)).set(waiting)

    def set_state(self, sizes: Iterable[StateSize]) -> None:
        """Set how much state the steps keep here; those that are not among them keep none."""
        for gauge in (self.state_keys, self.state_bytes):
            gauge.clear()
        for size in sizes:
            self.state_keys.labels(size.pipeline, size.step).inc(size.keys)
            self.state_bytes.labels(size.pipeline, size.step).inc(size.bytes)

    def step_timer(self, pipeline: Pipeline) -> OnStep:
        """Start to time the steps of a pipeline for one event."""
        began = self._clock.monotonic()

        def on_step(place: str) -> None:
            nonlocal began
            now = self._clock.monotonic()
            self.step_seconds.labels(pipeline.name, place).observe(now - began)
            began = now

        return on_step


def _part(number: int) -> str:
    """Return the label of a part: the first one of a pipeline is 1, as in dead letters."""
    return str(number + 1)
