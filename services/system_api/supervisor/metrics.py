"""The metrics of the system layer. Every label is a source's name or a state: bounded by the settings."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.system_api.supervisor.status import State
from shared.telemetry.hops import hop_seconds

_COMMIT_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_POLL_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class SourceMetrics:
    """The series of one source, looked up once: a lookup costs more than an increment."""

    def __init__(self, metrics: "SystemMetrics", source: str) -> None:
        self.published = metrics.published.labels(source)
        self.rejected = metrics.rejected.labels(source)
        self.polls = metrics.polls.labels(source)
        self.retries = metrics.retries.labels(source)
        self.restarts = metrics.restarts.labels(source)
        self.losses = metrics.losses.labels(source)
        self.lost_bytes = metrics.lost_bytes.labels(source)
        self.taken_early = metrics.taken_early.labels(source)
        self.redelivered = metrics.redelivered.labels(source)
        self.parked = metrics.parked.labels(source)
        self.waiting = metrics.waiting.labels(source)
        self.unaccounted = metrics.unaccounted.labels(source)
        self.slot_lag = metrics.slot_lag.labels(source)
        self.poll_seconds = metrics.poll_seconds.labels(source)
        self.commit_seconds = metrics.commit_seconds.labels(source)
        self.caught_up = metrics.caught_up.labels(source)
        self.interval = metrics.interval.labels(source)
        self.hops = metrics.hops
        self._states = {state: metrics.state.labels(source, state) for state in State}
        self._state = State.STANDBY
        self._states[self._state].set(1)

    def enter(self, state: State) -> None:
        """Set the current state: 1 for it, 0 for all others."""
        if state is not self._state:
            self._states[self._state].set(0)
            self._states[state].set(1)
            self._state = state


class SystemMetrics:
    """The metrics of all sources."""

    def __init__(self, registry: CollectorRegistry, sources: Iterable[str]) -> None:
        """Register the metrics; every series of `sources` exists from the start and reads 0."""

        def counter(name: str, text: str) -> Counter:
            return Counter(f"trelay_system_{name}", text, ["source"], registry=registry)

        self.published = counter("events_published_total", "Events committed to the bus.")
        self.rejected = counter("rejects_total", "Records sent to the dead letter topic instead of an event.")
        self.polls = counter("polls_total", "Successful polls, including those that found nothing.")
        self.retries = counter("retries_total", "Polls and openings that failed because the upstream was unavailable.")
        self.restarts = counter("restarts_total", "Times the source was closed and opened again.")
        self.losses = Counter(
            "trelay_source_losses_total",
            "Files or other parts that left the upstream before all of them was read.",
            ["source"],
            registry=registry,
        )
        self.lost_bytes = Counter(
            "trelay_source_lost_bytes_total",
            "Bytes known to be lost with them; what is not known is not counted.",
            ["source"],
            registry=registry,
        )
        self.taken_early = Counter(
            "trelay_source_taken_early_total",
            "Files that changed right after they were read, so that they were read again.",
            ["source"],
            registry=registry,
        )
        self.redelivered = Counter(
            "trelay_source_redelivered_total",
            "Messages that their broker says it had delivered before.",
            ["source"],
            registry=registry,
        )
        self.parked = Counter(
            "trelay_source_parked_total",
            "Messages sent to the dead letter topic because they were delivered too often.",
            ["source"],
            registry=registry,
        )
        self.waiting = Gauge(
            "trelay_source_waiting",
            "Parts that were seen upstream and cannot be published yet, such as a line without its end.",
            ["source"],
            registry=registry,
        )
        self.unaccounted = Gauge(
            "trelay_source_unaccounted_rows",
            "Rows that were read and are in no event, in no reject and not skipped on purpose; not 0: a bug.",
            ["source"],
            registry=registry,
        )
        self.slot_lag = Gauge(
            "trelay_source_slot_lag_bytes",
            "Bytes of its log that PostgreSQL keeps for the replication slot of the source.",
            ["source"],
            registry=registry,
        )
        self.poll_seconds = Histogram(
            "trelay_system_poll_seconds",
            "Duration of a poll in seconds.",
            ["source"],
            buckets=_POLL_SECONDS,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "trelay_system_commit_seconds",
            "Seconds from a batch being read to the commit of its events and its checkpoint.",
            ["source"],
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.caught_up = Gauge(
            "trelay_system_caught_up_timestamp_seconds",
            "Unix time when the source last had nothing left to publish; 0 before the first time.",
            ["source"],
            registry=registry,
        )
        self.interval = Gauge(
            "trelay_system_poll_interval_seconds",
            "Seconds between two polls of the source, as set: it can be behind by that much although all is well.",
            ["source"],
            registry=registry,
        )
        self.state = Gauge(
            "trelay_system_source_state",
            "State of the source: 1 for the current state, 0 for all others.",
            ["source", "state"],
            registry=registry,
        )
        self.hops = hop_seconds(registry)
        self._of = {source: SourceMetrics(self, source) for source in sources}

    def of(self, source: str) -> SourceMetrics:
        """Return the series of a source."""
        return self._of[source]
