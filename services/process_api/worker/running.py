"""The pipelines that run in one partition, and their state. Sans-I/O."""

from collections.abc import Collection, Mapping

from services.process_api.pipeline.selection import Selection
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.running import RunningState
from services.process_api.state.store import Size

_SHORTEST_WAIT = 0.01
_PAUSED_WAIT = 1.0


class StateMissing(Exception):
    """A pipeline keeps state, and the run began without any: it has to begin again."""


class RunningPipelines:
    """Gives the pipelines their state, also when others replace them."""

    def __init__(self, state: PartitionState) -> None:
        self._state = state
        self._selection: Selection | None = None
        self._running: RunningState | None = None

    def of(self, selection: Selection) -> RunningState:
        """Return the state of these pipelines; that of other ones is deleted."""
        if self._running is None or selection is not self._selection:
            self._selection = selection
            self._running = self._state.activate(
                {pipeline.name: pipeline.definitions for pipeline in selection.pipelines if pipeline.stateful}
            )
        return self._running

    @property
    def sizes(self) -> Mapping[tuple[str, str], Size]:
        """How much state each step has committed, by pipeline and place."""
        return {} if self._running is None else self._running.sizes()

    def wait(self, paused: Collection[str] = ()) -> float | None:
        """Return the seconds after which a result may be due without input; None for never.

        Those of `paused` pipelines are looked at again after a second.
        """
        if self._running is None or self._selection is None:
            return _SHORTEST_WAIT
        running, now = self._running, self._state.now()
        due = (
            _PAUSED_WAIT if pipeline.name in paused else max(_SHORTEST_WAIT, (at - now) / 1000)
            for pipeline in self._selection.pipelines
            if pipeline.stateful and (at := pipeline.next_due(running)) is not None
        )
        return min(due, default=None)

    def is_due(self, paused: Collection[str] = ()) -> bool:
        """Return whether a result is due now, of a pipeline that is not paused."""
        wait = self.wait(paused)
        return wait is not None and wait <= _SHORTEST_WAIT


def running_state(running: RunningPipelines | None, selection: Selection) -> RunningState | None:
    """Return the state of these pipelines; None where none has any.

    Raises:
        StateMissing: one has, and there is no state here.
    """
    if running is not None:
        return running.of(selection)
    if selection.stateful:
        raise StateMissing
    return None
