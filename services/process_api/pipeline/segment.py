"""The steps of one part of a pipeline, cut at the first one that keeps state. Sans-I/O."""

from collections.abc import Callable, Sequence

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.stateful.step import StatefulStep
from services.process_api.pipeline.steps.step import AnyStep, KnowingStep, Step, StepOptions
from services.process_api.pipeline.steps.step_list import Placed, StepList


class Segment:
    """The steps up to a `repartition`, or to the end."""

    def __init__(self, placed: Sequence[Placed], options: Sequence[StepOptions]) -> None:
        stateful = next((number for number, step in enumerate(options) if step.stateful), len(options))
        self.head, self.tail = StepList(placed[:stateful]), StepList(placed[stateful:])
        """The steps before the first one that keeps state, and the others."""
        self.timed = [
            (step, StepList(placed[number + 1 :]))
            for number, (_, step) in enumerate(placed)
            if isinstance(step, StatefulStep)
        ]
        """The steps that keep state, each with those behind it."""
        self.stateful = stateful < len(options)
        """Whether a step keeps state: the steps from that one on run on one event after the other."""
        self.waits = self.stateful or self.head.waits
        """Whether a step waits for something."""
        self.plain = [(place, apply) for place, step in placed if (apply := _without_waiting(step)) is not None]
        """The steps that do not wait, and those that often know the answer."""
        self.quick = not self.stateful and len(self.plain) == len(placed)
        """Whether these are all steps."""


def _without_waiting(step: AnyStep) -> Callable[[Draft], Sequence[Draft]] | None:
    if isinstance(step, Step):
        return step.apply
    return step.apply_known if isinstance(step, KnowingStep) else None


def segments(places: Sequence[str], steps: Sequence[AnyStep], options: Sequence[StepOptions]) -> list[Segment]:
    """Return the parts of a pipeline; each but the last one ends with a step that divides it."""
    found: list[Segment] = []
    begin = 0
    ends = [number + 1 for number, step in enumerate(options) if step.divides]
    for end in [*ends, len(options)]:
        found.append(Segment(list(zip(places[begin:end], steps[begin:end], strict=True)), options[begin:end]))
        begin = end
    return found
