"""What a step is built with. Sans-I/O."""

import random
from collections.abc import Iterable
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, Self

from shared.http.client.client import Request, Response
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.telemetry.tracing import NO_TRACING, Tracing


class Found(NamedTuple):
    """What a look-up finds for a key."""

    value: bytes | None
    """JSON text; None where nothing is found."""


class Answers(Protocol):
    """Answers look-ups in the place of other systems: in tests of pipelines.

    The place of a step is that in its pipeline, such as `steps.2.enrich`.
    """

    @property
    def live(self) -> bool:
        """Whether other systems are asked for what has no answer here."""
        ...

    def of_key(self, place: str, key: str) -> Found | None:
        """Return what a step finds for a key; None where its query or request has to be answered instead.

        Raises:
            Unavailable: the other system does not answer.
        """
        ...

    def of_request(self, place: str, request: Request) -> Response | None:
        """Return the response to a request of a step; None where the request has to be sent.

        Raises:
            TimeoutError: the other system does not answer in time.
            OSError: it cannot be reached.
            Unavailable: there is no answer, and the request must not be sent.
        """
        ...

    def check_query(self, place: str, key: str) -> None:
        """Return if a step may query a database for a key.

        Raises:
            Unavailable: it may not.
        """
        ...


@dataclass(frozen=True, slots=True)
class StepContext:
    """The place of a step, and what it takes from outside."""

    pipeline: str = ""
    """The name of the pipeline."""
    place: str = ""
    """The place of the step in it, such as `steps.2.enrich`."""
    clock: Clock = SYSTEM_CLOCK
    rng: random.Random = field(default_factory=random.SystemRandom)
    answers: Answers | None = None
    """None: other systems are asked."""
    tracing: Tracing = NO_TRACING
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What a step pushes is called once the pipeline does not run any more."""

    def at(self, place: str) -> Self:
        """Return the context of a step at a place in the pipeline."""
        return replace(self, place=place)

    def following(self, traceparents: Iterable[str | None]) -> AbstractContextManager[None]:
        """Return the context of calls of this step to other systems, for events with these attributes `traceparent`."""
        return self.tracing.following(traceparents, {"trelay.pipeline": self.pipeline, "trelay.step": self.place})
