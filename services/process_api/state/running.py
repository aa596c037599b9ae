"""The state of the pipelines that run in one partition, while one record after the other changes it. Sans-I/O."""

from collections.abc import Callable, Mapping

from services.process_api.state.changes import Layers
from services.process_api.state.step_state import Moment, PipelineState, StepState
from services.process_api.state.store import Size

_SKEW = 60_000
"""Milliseconds that the clock of a producer or of the bus may be ahead of that of this replica."""


class RunningState:
    """Of one partition, and one version of the pipelines."""

    def __init__(
        self,
        layers: Layers,
        moment: Moment,
        now: Callable[[], int],
        pipelines: Mapping[str, Mapping[str, str]],
        instances: Mapping[str, int],
    ) -> None:
        """`pipelines` has the definition of each stateful step, by pipeline and place; `instances` by definition.

        `now` returns milliseconds since 1970.
        """
        self.now = now
        self.results = 0
        """How many results that the time has made due were processed."""
        self._moment = moment
        self._pipelines = {pipeline: PipelineState(layers, moment) for pipeline in pipelines}
        self._steps = {
            (pipeline, place): StepState(self._pipelines[pipeline], instances[definition])
            for pipeline, places in pipelines.items()
            for place, definition in places.items()
        }

    def at_record(self, key: bytes, timestamp: int, provenance: bytes) -> None:
        """Note which record is processed; `timestamp` in milliseconds since 1970."""
        moment = self._moment
        moment.now = moment.since = self.now()
        moment.key, moment.timestamp, moment.provenance = key, _written(timestamp, moment.now), provenance
        moment.idle = False

    def before_record(self, timestamp: int) -> None:
        """Note that a record waits that was written at a time, and that all before it are processed."""
        moment, now = self._moment, self.now()
        moment.key, moment.provenance, moment.timestamp = b"", b"", _written(timestamp, now) - 1
        moment.now, moment.idle = now, False

    def at_result(self, key: bytes, provenance: bytes) -> None:
        """Note that a result is processed that the time has made due; `key` is that of the records it is made of."""
        self._moment.key, self._moment.provenance = key, provenance
        self.results += 1

    def at_no_record(self) -> None:
        """Note that there is no record, and none waits."""
        moment, now = self._moment, self.now()
        moment.since = moment.since or now
        moment.key, moment.provenance, moment.timestamp, moment.now, moment.idle = b"", b"", now, now, True

    def sizes(self) -> dict[tuple[str, str], Size]:
        """Return how much state each step has committed, by pipeline and place."""
        return {name: step.size for name, step in self._steps.items()}

    def step(self, pipeline: str, place: str) -> StepState:
        """Return the state of one step."""
        return self._steps[pipeline, place]

    def begin(self, pipeline: str) -> None:
        """Begin to change the state of a pipeline; the changes are provisional until `keep`."""
        assert not self._pipelines[pipeline].provisional, "kept or undone"

    def keep(self, pipeline: str) -> None:
        """Keep what a pipeline has changed since `begin`."""
        self._pipelines[pipeline].keep()

    def undo(self, pipeline: str) -> None:
        """Undo what a pipeline has changed since `begin`."""
        self._pipelines[pipeline].undo()


def _written(timestamp: int, now: int) -> int:
    """Return when a record was written to the bus.

    On Kafka, the program that writes a record sets its timestamp: another one may write microseconds, or none (-1).
    Such a record would end all windows of its partition permanently, and stop the heartbeats of its subject.
    """
    return timestamp if 0 <= timestamp <= now + _SKEW else now
