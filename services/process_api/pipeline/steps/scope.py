"""What steps know of the run that they are part of. Sans-I/O."""

from dataclasses import dataclass
from typing import Protocol

from services.process_api.state.running import RunningState
from shared.bus.protocol import TopicPartition


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
    state: RunningState | None = None
    """None where no pipeline is stateful."""
