"""`- dedupe: {within: 3600}`: only the first of equal events passes."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.stateful.grouping import By, Grouping
from services.process_api.pipeline.steps.stateful.step import DUE_LIMIT, Due, StatefulOptions, StatefulStep
from services.process_api.pipeline.steps.step import Example
from services.process_api.state.keys import EVENT_TIMER
from services.process_api.state.step_state import StepState
from shared.settings import Options

_MS = 1000
_SKEW = 60_000
"""Milliseconds that the clocks of two replicas may differ: state is kept for so long beyond its time."""


class Dedupe(Options):
    """What makes events equal."""

    by: By = Field(default=["$event.id"])
    """JSONata expressions, one or a list: events of one subject are equal if these have equal values. An event
    for which one is undefined goes to the dead letter."""

    within: float = Field(gt=0, le=86_400 * 31)
    """Seconds after the event that passed in which equal ones end here, by the times at which they were written to the
    bus. Each event that passes takes state for this time."""


class DedupeOptions(StatefulOptions):
    """Passes the first of equal events; the others end here."""

    kind: ClassVar = "dedupe"
    holds: ClassVar = False
    example: ClassVar = Example(
        "dedupe: {by: number, within: 3600}",
        [
            ({"id": "a", "data": {"number": 7}}, [{"id": "a", "data": {"number": 7}}]),
            ({"id": "b", "data": {"number": 7}}, []),
            ({"id": "c", "data": {"number": 8}}, [{"id": "c", "data": {"number": 8}}]),
        ],
    )

    dedupe: Dedupe
    """Which events are equal, and for how long."""

    def expressions(self) -> list[str]:
        return list(self.dedupe.by)

    def build(self, context: StepContext) -> "DedupeStep":
        return DedupeStep(self.dedupe, context)


class DedupeStep(StatefulStep):
    """The value of a group is the time of the event that passed."""

    def __init__(self, options: Dedupe, context: StepContext) -> None:
        super().__init__(context)
        self._grouping = Grouping(options.by)
        self._within = int(options.within * _MS)
        self._slack = _SKEW + self._within // 16

    def process(self, draft: Draft, state: StepState) -> Sequence[Draft]:
        at, key = state.moment.timestamp, self._grouping.of(draft, state.moment).key
        found = state.get(key)
        if found is not None:
            passed = int(found)
            # A clock that was far ahead must not end events for years.
            if abs(at - passed) < self._within:
                return ()
            state.clear_timer(EVENT_TIMER, passed + self._within, key)
        state.put(key, b"%d" % at)
        state.set_timer(EVENT_TIMER, at + self._within, key)
        return (draft,)

    def due(self, state: StepState) -> Iterable[Due]:
        # A step behind the time, so that one call deletes many.
        for _, key in state.take_due(EVENT_TIMER, state.moment.timestamp - self._slack, DUE_LIMIT):
            state.delete(key)
        return ()

    def next_due(self, state: StepState) -> int | None:
        first = state.next_timer(EVENT_TIMER)
        return None if first is None else first + self._slack
