"""What the system layer counts. Every label is a source's name or a state: bounded by the settings."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.system_api.condition import State

_COMMIT_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_POLL_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class SystemMetrics:
    """One set of metrics, in the registry that is given."""

    def __init__(self, registry: CollectorRegistry, sources: Iterable[str]) -> None:
        """Each of `sources` reads 0 from the start: what never ran is not absent."""

        def counter(name: str, text: str) -> Counter:
            return Counter(f"trelay_system_{name}", text, ["source"], registry=registry)

        self.published = counter("events_published_total", "Events that are visible on the bus.")
        self.rejected = counter("rejects_total", "Input that went to the dead letter instead.")
        self.polls = counter("polls_total", "Polls that succeeded, those that found nothing too.")
        self.retries = counter("retries_total", "Polls and openings that failed because the upstream did not answer.")
        self.rebuilds = counter("rebuilds_total", "Times the source was closed and opened again.")
        self.poll_seconds = Histogram(
            "trelay_system_poll_seconds",
            "How long polls take.",
            ["source"],
            buckets=_POLL_SECONDS,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "trelay_system_commit_seconds",
            "From a batch that is read to its events being visible and its place saved.",
            ["source"],
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.caught_up = Gauge(
            "trelay_system_caught_up_timestamp_seconds",
            "When everything that was waiting upstream had last been published; 0 before the first time.",
            ["source"],
            registry=registry,
        )
        self._state = Gauge(
            "trelay_system_source_state", "1 for the state the source is in.", ["source", "state"], registry=registry
        )
        for source in sources:
            for metric in (self.published, self.rejected, self.polls, self.retries, self.rebuilds):
                metric.labels(source)
            for seconds in (self.poll_seconds, self.commit_seconds):
                seconds.labels(source)
            self.caught_up.labels(source)
            self.enter(source, State.STANDBY)

    def enter(self, source: str, state: State) -> None:
        """Note the state a source is in now."""
        for each in State:
            self._state.labels(source, each).set(each is state)
