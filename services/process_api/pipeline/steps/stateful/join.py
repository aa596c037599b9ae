"""`- join: {left: orders, right: payments, within: 60}`: events of two sources that belong together become one."""

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec
from pydantic import Field, model_validator

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import failure
from services.process_api.pipeline.steps.stateful.grouping import By, Grouping
from services.process_api.pipeline.steps.stateful.step import DUE_LIMIT, Due, StatefulOptions, StatefulStep
from services.process_api.pipeline.steps.stateful.stored import Stored
from services.process_api.pipeline.steps.stateful.timing import MS, EventTime, TimedOptions
from services.process_api.pipeline.steps.step import Example
from services.process_api.state.keys import EVENT_TIMER
from services.process_api.state.step_state import StepState
from shared.errors import Malformed
from shared.events.event import json_string
from shared.expression.expression import Expression
from shared.expression.nodes import Raw
from shared.expression.settings import ExpressionText

_SOURCES = "/sources/"
_MOST = 1000
_MOST_BYTES = 1024 * 1024
"""Events of one group and one side that wait, and their bytes: each event of the group writes them again."""

SourceName = Annotated[str, Field(min_length=1, max_length=200)]


class Join(TimedOptions):
    """Which events belong together."""

    left: SourceName
    """The name of one source of the pipeline."""

    right: SourceName
    """The name of another one. Events of other sources go to the dead letter."""

    within: float = Field(gt=0, le=86_400 * 7)
    """Seconds that the times of two events differ by at most. Each event takes state for this time."""

    by: By = Field(default_factory=list)
    """JSONata expressions, one or a list: events of one subject belong together if these have equal values for both."""

    mode: Literal["inner", "left"] = "inner"
    """`left`: an event of the left source for which none came passes once its time is over, with `right: null`."""

    merge: ExpressionText | None = None
    """A JSONata expression over `{left, right}` that gives the new entity; by default it is that object itself."""

    @model_validator(mode="after")
    def _differ(self) -> "Join":
        if self.left == self.right:
            raise ValueError(f"left and right are both {self.left!r}; expected two sources")
        return self


class JoinOptions(StatefulOptions):
    """Joins the events of two sources: each pair that belongs together becomes an event."""

    kind: ClassVar = "join"
    example: ClassVar = Example(
        """join: {left: orders, right: payments, within: 600, merge: '{"order": left.id, "paid": right.amount}'}""",
        [
            ({"source": "/sources/orders", "id": "orders:1", "data": {"id": 7}}, []),
            (
                {"source": "/sources/payments", "id": "payments:1", "data": {"amount": 5}},
                [{"id": "orders:1+payments:1", "data": {"order": 7, "paid": 5}}],
            ),
        ],
    )

    join: Join
    """The two sources, and which of their events belong together."""

    def expressions(self) -> list[str]:
        return [*self.join.by, *([] if self.join.merge is None else [self.join.merge])]

    def build(self, context: StepContext) -> "JoinStep":
        return JoinStep(self.join, context)


class _Waiting(msgspec.Struct, array_like=True):
    """An event that waits for others."""

    at: int
    event: Stored
    matched: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Waiting]).decode


class JoinStep(StatefulStep):
    """A key is a side and a group, its value the events of the group that wait, oldest first."""

    def __init__(self, options: Join, context: StepContext) -> None:
        super().__init__(context)
        self._time = EventTime(options)
        self._grouping = Grouping(options.by)
        self._sides = {_SOURCES + options.left: b"L", _SOURCES + options.right: b"R"}
        self._within = int(options.within * MS)
        self._kept = self._within + self._time.lateness + 1
        """Milliseconds after its time for which an event is kept: one `within` later is in time, and matches."""
        self._keeps_unmatched = options.mode == "left"
        self._merge = Expression(options.merge) if options.merge is not None else None

    def process(self, draft: Draft, state: StepState) -> Sequence[Draft]:
        side = self._sides.get(draft.attribute("source") or "")
        if side is None:
            expected = " and ".join(name.removeprefix(_SOURCES) for name in self._sides)
            raise Malformed(f"an event of the source {draft.attribute('source')!r}; expected {expected}")
        at = self._time.of(draft, state)
        group = self._grouping.of(draft, state.moment).key
        if at + self._kept <= self._time.advance(at, state):
            raise self._time.late(at, state)
        other = b"R" if side == b"L" else b"L"
        waiting = _load(other + group, state)
        matches = [each for each in waiting if abs(each.at - at) <= self._within]
        own = _Waiting(at, Stored.of(draft, state.moment), bool(matches))
        if self._keeps_unmatched and any(not each.matched for each in matches):
            for each in matches:
                each.matched = True
            state.put(other + group, _encode(waiting))
        self._store(side + group, own, state)
        pairs = [(draft, each.event.draft()) for each in matches]
        return [self._pair(*(pair if side == b"L" else pair[::-1]), draft) for pair in pairs]

    def due(self, state: StepState) -> Iterable[Due]:
        time = self._time.pass_idle(state)
        for at, key in state.take_due(EVENT_TIMER, time - self._kept, DUE_LIMIT):
            waiting = _load(key, state)
            left = [each for each in waiting if each.at != at]
            if left:
                state.put(key, _encode(left))
            else:
                state.delete(key)
            if self._keeps_unmatched and key[:1] == b"L":
                for each in waiting:
                    if each.at == at and not each.matched:
                        yield self._unmatched(each.event)

    def may_be_due(self, state: StepState) -> bool:
        return self._time.is_due(self._kept, state)

    def next_due(self, state: StepState) -> int | None:
        return self._time.next_due(self._kept, state)

    def _unmatched(self, event: Stored) -> Due:
        draft = event.draft()
        try:
            return Due(self._pair(draft, None, draft), event.headers)
        except Exception as exc:  # noqa: BLE001 -- see `failure`
            return Due(draft, event.headers, failure(self.place, exc))

    def _store(self, key: bytes, own: _Waiting, state: StepState) -> None:
        waiting = [*_load(key, state), own]
        packed = _encode(waiting)
        if len(waiting) > _MOST or len(packed) > _MOST_BYTES:
            raise Malformed(
                f"{len(waiting)} events of one subject and source wait, of {len(packed)} bytes;"
                f" the limits are {_MOST} and {_MOST_BYTES}: a smaller `within` keeps fewer"
            )
        state.put(key, packed)
        state.set_timer(EVENT_TIMER, own.at, key)

    def _pair(self, left: Draft, right: Draft | None, base: Draft) -> Draft:
        """Return the event of a pair, with the attributes of `base`, the one that came last."""
        texts = (left.data_text() or b"null", None if right is None else right.data_text())
        entity = Raw(b'{"left":%b,"right":%b}' % (texts[0], texts[1] or b"null"))
        identity = "+".join(str(each.attribute("id")) for each in (left, right) if each is not None)
        [made] = base.copies_with([entity])
        made.set_attribute("id", Raw(json_string(identity)))
        if self._merge is not None:
            merged = self._merge.value(made)
            if merged is None:
                raise Malformed("`merge` is undefined for this pair")
            made.replace_data_text(merged)
        return made


def _load(key: bytes, state: StepState) -> list[_Waiting]:
    found = state.get(key)
    return [] if found is None else _decode(found)
