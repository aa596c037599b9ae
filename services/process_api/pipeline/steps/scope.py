"""What steps know of the run that they are part of. Sans-I/O."""

from dataclasses import dataclass
from typing import Protocol

from shared.bus.protocol import TopicPartition


class RecordState(Protocol):
    """The state of the stateful steps of one partition, while one record after the other changes it."""

    def begin(self, pipeline: str) -> None:
        """Note that a pipeline begins to run on the next record; its changes are provisional from here on."""
        ...

    def keep(self, pipeline: str) -> None:
        """Keep what the pipeline changed since `begin`."""
        ...

    def undo(self, pipeline: str) -> None:
        """Undo what the pipeline changed since `begin`: it rejected the record, or the record has to come again."""
        ...


class Turns(Protocol):
    """Shares the event loop with other tasks."""

    async def breathe(self) -> None:
        """Let other tasks run, if it is time; await it between two events."""
        ...

    def waited(self) -> None:
        """Note that the time since the last call was spent in waiting, in which other tasks ran."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """One batch of one partition."""

    partition: TopicPartition
    """The partition of the input."""
    turns: Turns
    state: RecordState | None = None
    """None where no pipeline is stateful."""
