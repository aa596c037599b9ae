"""The metric of shadows. Each label is a pipeline or a result: bounded by the settings."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

from services.process_api.shadow.messages import Result


class ShadowMetrics:
    """How often the results of a shadow differ."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "trelay_pipeline_shadow_events_total",
            "Events that a shadow got, by how its result differs from what was published.",
            ["pipeline", "result"],
            registry=registry,
        )

    def declare(self, pipelines: Iterable[str]) -> None:
        """Let the metric of these pipelines read 0 until their shadows run."""
        for pipeline in pipelines:
            for result in Result:
                self._events.labels(pipeline, result.value)

    def count(self, pipeline: str, result: Result) -> None:
        """Count an event."""
        self._events.labels(pipeline, result.value).inc()
