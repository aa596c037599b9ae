"""What steps know of the run that they are part of. Sans-I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from services.process_api.state.running import RunningState
from shared.bus.protocol import TopicPartition


class Turns(Protocol):
    """Shares the event loop with other tasks."""

    def due(self) -> bool:
        """Note that an event is done; return whether other tasks have to run now: then await `rest`.

        This takes a third of the time of `breathe`.
        """
        ...

    async def rest(self) -> None:
        """Let other tasks run."""
        ...

    async def breathe(self) -> None:
        """Let other tasks run, if it is time; await it between two events."""
        ...

    def waited(self) -> None:
        """Note that the time since the last call was spent in waiting, in which other tasks ran."""
        ...


OnStep: TypeAlias = Callable[[str], None]
"""Called with the place of a step when it is done; measures the time since it was made, or was called last."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One batch of one partition."""

    partition: TopicPartition
    """The partition of the input."""
    turns: Turns
    state: RunningState | None = None
    """None where no pipeline is stateful."""
    step_timer: Callable[[Any], OnStep] | None = None
    """Begins to time the steps of a pipeline."""
    timed: set[str] = field(default_factory=set)
    """The pipelines of which an event was timed behind the first stateful step."""
