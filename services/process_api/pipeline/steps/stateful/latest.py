"""`- latest: {every: 500}`: at most one event in a time for each subject, the latest one."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec
from pydantic import Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.stateful.grouping import By, Grouping
from services.process_api.pipeline.steps.stateful.step import DUE_LIMIT, Due, StatefulOptions, StatefulStep
from services.process_api.pipeline.steps.stateful.stored import Stored
from services.process_api.pipeline.steps.step import Example
from services.process_api.state.keys import WALL_TIMER
from services.process_api.state.step_state import StepState
from shared.settings import Options


class Latest(Options):
    """How often an event passes."""

    by: By = Field(default_factory=list)
    """JSONata expressions, one or a list, that divide the events of one subject; each part has a latest event."""

    every: int = Field(ge=10, le=86_400_000)
    """Milliseconds between two events of one subject. The first one passes at once. Of those that follow within the
    time, the last one passes when it is over, and the others end here."""


class LatestOptions(StatefulOptions):
    """Passes at most one event in a time for each subject: the latest one."""

    kind: ClassVar = "latest"
    example: ClassVar = Example(
        "latest: {every: 60000}",
        [
            ({"id": "a", "data": {"price": 7}}, [{"id": "a", "data": {"price": 7}}]),
            ({"id": "b", "data": {"price": 8}}, []),
        ],
    )

    latest: Latest
    """How often an event of one subject passes at most."""

    def expressions(self) -> list[str]:
        return list(self.latest.by)

    def build(self, context: StepContext) -> "LatestStep":
        return LatestStep(self.latest, context)


class _Held(msgspec.Struct, array_like=True):
    passed: int
    """When an event passed last, in milliseconds since 1970."""
    event: Stored | None = None
    """The one that waits."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Held).decode


class LatestStep(StatefulStep):
    """The value of a group is when an event passed, and the one that waits."""

    def __init__(self, options: Latest, context: StepContext) -> None:
        super().__init__(context)
        self._grouping = Grouping(options.by)
        self._every = options.every

    def process(self, draft: Draft, state: StepState) -> Sequence[Draft]:
        now, key = state.moment.now, self._grouping.of(draft, state.moment).key
        found = state.get(key)
        held = None if found is None else _decode(found)
        if held is not None and 0 <= now - held.passed < self._every:
            state.put(key, _encode(_Held(held.passed, Stored.of(draft, state.moment))))
            return ()
        if held is not None:
            state.clear_timer(WALL_TIMER, held.passed + self._every, key)
        self._note_passed(key, now, state)
        return (draft,)

    def due(self, state: StepState) -> Iterable[Due]:
        now = state.moment.now
        timers = state.take_due(WALL_TIMER, now, DUE_LIMIT)
        if state.begins():
            # The clock of an earlier run was ahead: nothing waits longer than `every`.
            for _, key in state.take_beyond(WALL_TIMER, now + self._every, 2**31):
                state.set_timer(WALL_TIMER, now, key)
        for _, key in timers:
            found = state.get(key)
            held = None if found is None else _decode(found)
            if held is None or held.event is None:
                state.delete(key)
                continue
            self._note_passed(key, now, state)
            draft = held.event.draft()
            yield Due(draft, held.event.headers, held.event.key(draft))

    def next_due(self, state: StepState) -> int | None:
        return state.next_timer(WALL_TIMER)

    def _note_passed(self, key: bytes, now: int, state: StepState) -> None:
        state.put(key, _encode(_Held(now)))
        state.set_timer(WALL_TIMER, now + self._every, key)
