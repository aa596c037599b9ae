"""How long each hop of an event takes, as one histogram that the services of a process share.

One event of a batch is observed, the one that waited longest. With tracing, its trace is the exemplar of the bucket:
OpenMetrics shows it, so that a slow bucket leads to a trace.
"""

from enum import StrEnum
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Histogram

from shared.telemetry.parents import Valued, sampled_parents

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_SOURCES_LIMIT = 200
_OTHERS = "others"
_TRACE_ID = slice(3, 35)


class Hop(StrEnum):
    """A part of the way of an event."""

    COMMIT = "commit"
    """From its reading to its commit on the bus, in the system layer."""
    PROCESS = "process"
    """From its write to the ingest topic to the commit of what the pipelines made of it."""
    DELIVER = "deliver"
    """From its write to the publish topic to the sockets of live subscribers."""


class HopSeconds:
    """The histogram. Its sources are bounded: those beyond a limit share one series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.exemplars = False
        """Whether traces are exported, so that their ids lead somewhere."""
        self._histogram = Histogram(
            "trelay_hop_seconds",
            "Seconds that a hop of an event takes, of one event a batch: the one that waited longest.",
            ["hop", "source"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._sources: set[str] = set()

    def observe(self, hop: Hop, source: str, seconds: float, event: Valued) -> None:
        """Observe a hop of an event. A time that clocks make negative counts as 0."""
        self._histogram.labels(hop, self._known(source)).observe(max(0.0, seconds), self.exemplar(event))

    def exemplar(self, event: Valued) -> dict[str, str] | None:
        """Return the trace of an event as an exemplar, if it is sampled."""
        if not self.exemplars:
            return None
        return next(({"trace_id": parent[_TRACE_ID].decode()} for parent in sampled_parents([event], 1)), None)

    def _known(self, source: str) -> str:
        if source not in self._sources:
            if len(self._sources) >= _SOURCES_LIMIT:
                return _OTHERS
            self._sources.add(source)
        return source


_made: WeakKeyDictionary[CollectorRegistry, HopSeconds] = WeakKeyDictionary()


def hop_seconds(registry: CollectorRegistry) -> HopSeconds:
    """Return the histogram of a registry."""
    found = _made.get(registry)
    if found is None:
        found = _made[registry] = HopSeconds(registry)
    return found
