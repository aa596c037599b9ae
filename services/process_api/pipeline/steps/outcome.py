"""What becomes of one event in a list of steps: the events that it becomes, or why it does not pass. Sans-I/O."""

import logging
from collections.abc import Sequence
from typing import TypeAlias

from services.process_api.pipeline.draft import Draft
from shared.errors import Malformed, Unavailable
from shared.expression.jsonata import EvaluationTimeout

logger = logging.getLogger(__name__)


class Rejected(Malformed):
    """A pipeline rejects an event; the text names the step and the reason."""

    def __init__(self, text: str, *, timed_out: bool = False) -> None:
        """`timed_out` says that an expression ran until its time limit."""
        super().__init__(text)
        self.timed_out = timed_out


class Blocked(Unavailable):
    """A step waits for something: its event has to come again, and those behind it wait."""

    def __init__(self, text: str, place: str) -> None:
        """`place` names the step, such as `steps.2.enrich`."""
        super().__init__(text)
        self.place = place
        self.pipeline = ""
        """The name of the pipeline, once it is known."""


Outcome: TypeAlias = Sequence[Draft] | Rejected | Blocked
"""Of one event: those that it becomes, in order, or a failure that concerns this event alone."""


def failure(place: str, error: Exception) -> Rejected | Blocked:
    """Return what the error of a step at a place means for its event; the error of an inner step keeps its place."""
    if isinstance(error, Rejected | Blocked):
        return error
    if isinstance(error, Unavailable):
        made: Rejected | Blocked = Blocked(str(error), place)
    elif isinstance(error, Malformed):
        made = Rejected(f"{place}: {error}", timed_out=isinstance(error, EvaluationTimeout))
    else:  # a bug in a step must not stop the events behind
        logger.debug("step failed", extra={"step": place}, exc_info=error)
        made = Rejected(f"{place}: {type(error).__name__}: {error}")
    made.__cause__ = error
    return made


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome of an event whose parts have these: a part that is rejected rejects the event as a whole."""
    if len(outcomes) == 1:
        return outcomes[0]
    made: list[Draft] = []
    blocked: Blocked | None = None
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            return outcome
        if isinstance(outcome, Blocked):
            blocked = blocked or outcome
        else:
            made += outcome
    return blocked or made
