"""What a step is built with. Sans-I/O."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Self

from shared.runtime.clock import SYSTEM_CLOCK, Clock


@dataclass(frozen=True, slots=True)
class StepContext:
    """The place of a step, and what it takes from outside."""

    pipeline: str = ""
    """The name of the pipeline."""
    place: str = ""
    """The place of the step in it, such as `steps.2.enrich`."""
    clock: Clock = SYSTEM_CLOCK
    rng: random.Random = field(default_factory=random.SystemRandom)
    on_close: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What a step appends is called once the pipeline does not run any more."""

    def at(self, place: str) -> Self:
        """Return the context of a step at a place in the pipeline."""
        return replace(self, place=place)
