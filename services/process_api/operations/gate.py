"""Which pipelines run on a record of one partition: not those that are paused, or have run on it before a rewind.

Sans-I/O.
"""

from collections.abc import Callable, Collection, Sequence

from services.process_api.operations.starts import Starts
from services.process_api.pipeline.part import Part
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.steps.outcome import Blocked
from shared.events.dead_letter import Replay


class Paused(Blocked):
    """An operator paused the pipeline of an event: the event and those behind it wait."""

    def __init__(self, pipeline: str) -> None:
        super().__init__("paused by an operator", "")
        self.pipeline = pipeline


class NotLoaded(Blocked):
    """An event goes on in a part of its pipeline that another replica has loaded, and this one has not."""

    def __init__(self, part: Part) -> None:
        number, name = part.number + 1, part.pipeline
        super().__init__(f"this replica has not loaded part {number} of the pipeline {name!r} yet", "repartition")
        self.pipeline = name


class Ahead(Exception):
    """The partition that an event comes from has carried out a rewind that this one has not carried out yet."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"a rewind has to be carried out before the record at offset {offset}")
        self.offset = offset


class Gate:
    """The gate of one partition."""

    def __init__(
        self, starts: Starts, paused: Callable[[], Collection[str]], ahead: int = -1, partition: int = 0
    ) -> None:
        """`paused` returns the names of the pipelines that are paused. `partition` is the one that it stands before.

        `ahead` is the offset at which the run before met a rewind that it had not carried out; all that are known are
        carried out by now.
        """
        self._partition = partition
        self._ahead = ahead
        self._starts = starts
        self._end = starts.end
        self._paused = paused

    @property
    def paused(self) -> Collection[str]:
        """The names of the pipelines that are paused."""
        return self._paused()

    def passes_all(self, offset: int) -> bool:
        """Return whether all pipelines run on all records from an offset on."""
        return offset >= self._end and not self._paused()

    def generation(self, pipeline: str) -> int:
        """Return how many rewinds of a pipeline the partition has carried out."""
        return self._starts.number(pipeline)

    def rewinds(self, pipeline: str) -> str:
        """Return what a dead letter of a pipeline, by name and version, says of its rewinds; of none, nothing."""
        return self._starts.rewinds(pipeline.partition("@")[0]) if pipeline else ""

    def admitted(
        self, pipelines: Sequence[Pipeline], offset: int, part: Part | None = None, replay: Replay | None = None
    ) -> Sequence[Pipeline]:
        """Return those of a record's pipelines that run on it; `part` is that in which its event goes on.

        A `replay` that an operator asks for runs whatever a rewind repeats, unless it was processed before the rewind.

        Raises:
            Paused: one of them is paused.
            Ahead: this partition has to carry out a rewind first.
        """
        if part is not None and replay is None:
            if part.generation > self._starts.number(part.pipeline) and offset != self._ahead:
                raise Ahead(offset)
            if not self._starts.runs(part, offset):
                return ()
        running = pipelines if offset >= self._end else self._starts.running(pipelines, offset)
        if replay is not None:
            place, starts = (self._partition, offset), self._starts
            running = tuple(each for each in running if not starts.repeats(each.name, place, replay, part))
        paused = self._paused()
        for pipeline in running:
            if pipeline.name in paused:
                raise Paused(pipeline.name)
        return running

    def is_new(self, offset: int) -> bool:
        """Return whether the record at an offset was not processed before: only then its own faults are reported."""
        return offset >= self._starts.others

    def is_paused(self, pipeline: str) -> bool:
        """Return whether a pipeline is paused."""
        return pipeline in self._paused()
