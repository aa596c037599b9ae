"""What the process layer counts. Every label is a pipeline, a step of one, or a partition: bounded by the settings."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.process_api.pipeline.pipeline import Lap, Pipeline
from services.process_api.worker.batch import Batch
from shared.runtime.clock import Clock

_COMMIT_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STEP_SECONDS = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


class ProcessMetrics:
    """One set of metrics, in the registry that is given."""

    def __init__(self, registry: CollectorRegistry, pipelines: Iterable[Pipeline], clock: Clock) -> None:
        """Each of `pipelines`, and each of its steps, reads 0 from the start: what never ran is not absent."""

        def counter(name: str, text: str) -> Counter:
            return Counter(f"trelay_process_{name}", text, ["pipeline"], registry=registry)

        self.taken = counter("events_taken_total", "Events that a pipeline has dealt with.")
        self.published = counter("events_published_total", "Events it made of them that are visible to subscribers.")
        self.refused = counter("rejects_total", "Events that went to the dead letter.")
        self.unclaimed = Counter(
            "trelay_process_unclaimed_total",
            "Records that went to the dead letter without a pipeline: no event, too large, or of a source none takes.",
            registry=registry,
        )
        self.lost = Counter(
            "trelay_process_lost_total",
            "Events that retention took before they were read.",
            registry=registry,
        )
        self.step_seconds = Histogram(
            "trelay_process_step_seconds",
            "How long a step takes for one event; the first event of each transaction is measured.",
            ["pipeline", "step"],
            buckets=_STEP_SECONDS,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "trelay_process_commit_seconds",
            "From the first record that is read to what became of a batch being visible.",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.lag = Gauge(
            "trelay_process_lag_records",
            "Records of a partition that this replica drives that wait to be read; Kafka counts its markers, too.",
            ["partition"],
            registry=registry,
        )
        self._clock = clock
        for pipeline in pipelines:
            for metric in (self.taken, self.published, self.refused):
                metric.labels(pipeline.name)
            for place in pipeline.places:
                self.step_seconds.labels(pipeline.name, place)

    def committed(self, batch: Batch, seconds: float) -> None:
        """Count what has become visible."""
        for pipeline, tally in batch.tallies.items():
            self.taken.labels(pipeline).inc(tally.taken)
            self.published.labels(pipeline).inc(tally.published)
            self.refused.labels(pipeline).inc(tally.refused)
        self.unclaimed.inc(batch.unclaimed)
        self.commit_seconds.observe(seconds)

    def lags(self, records: Mapping[int, int]) -> None:
        """Tell how many records wait, by partition; of those that are driven here, and no others."""
        self.lag.clear()
        for partition, waiting in records.items():
            self.lag.labels(str(partition)).set(waiting)

    def watch(self, pipeline: Pipeline) -> Lap:
        """Begin to time the steps of a pipeline for one event."""
        began = self._clock.monotonic()

        def lap(place: str) -> None:
            nonlocal began
            now = self._clock.monotonic()
            self.step_seconds.labels(pipeline.name, place).observe(now - began)
            began = now

        return lap
