"""`- join: {left: orders, right: payments, within: 60}`: events of two sources that belong together become one."""

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import failure
from services.process_api.pipeline.steps.stateful import waiting_events
from services.process_api.pipeline.steps.stateful.grouping import By, Grouping
from services.process_api.pipeline.steps.stateful.step import DUE_LIMIT, Due, StatefulOptions, StatefulStep
from services.process_api.pipeline.steps.stateful.stored import Stored
from services.process_api.pipeline.steps.stateful.timing import MS, EventTime, TimedOptions
from services.process_api.pipeline.steps.stateful.waiting_events import Kept, Waiting
from services.process_api.pipeline.steps.step import Example
from services.process_api.state.keys import EVENT_TIMER
from services.process_api.state.step_state import StepState
from shared.errors import Malformed
from shared.events.event import json_string
from shared.expression.expression import Expression
from shared.expression.nodes import Raw
from shared.expression.settings import ExpressionText

_SOURCES = "/sources/"
_MOST_PAIRED = 64 * 1024 * 1024
"""Bytes of the pairs that one event makes: they are in memory at once, and in one transaction."""

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


class JoinStep(StatefulStep):
    """A key is a side and a group; see `waiting_events` for its events."""

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
        draft.check_json()  # a pair is an object with both
        at = self._time.of(draft, state)
        group = self._grouping.of(draft, state.moment).key
        if at + self._kept <= self._time.advance(at, state):
            raise self._time.late(at, state)
        other = b"R" if side == b"L" else b"L"
        matches = waiting_events.between(other + group, at - self._within, at + self._within, state)
        own = Waiting(at, Stored.of(draft, state.moment), bool(matches))
        _check_size(own, matches)
        if self._keeps_unmatched:
            waiting_events.mark(other + group, matches, state)
        waiting_events.add(side + group, own, state)
        pairs = [(draft, each.waiting.event.draft()) for each in matches]
        return [self._pair(*(pair if side == b"L" else pair[::-1]), draft) for pair in pairs]

    def due(self, state: StepState) -> Iterable[Due]:
        time = self._time.pass_idle(state)
        for at, key in state.take_due(EVENT_TIMER, time - self._kept, DUE_LIMIT):
            for waiting in waiting_events.take(key, at, state):
                if self._keeps_unmatched and key[:1] == b"L" and not waiting.matched:
                    yield self._unmatched(waiting.event)

    def may_be_due(self, state: StepState) -> bool:
        return self._time.is_due(self._kept, state)

    def next_due(self, state: StepState) -> int | None:
        return self._time.next_due(self._kept, state)

    def _unmatched(self, event: Stored) -> Due:
        draft = event.draft()
        key = event.key(draft)
        try:
            return Due(self._pair(draft, None, draft), event.headers, key)
        except Exception as exc:  # noqa: BLE001 -- see `failure`
            return Due(draft, event.headers, key, failure(self.place, exc))

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


def _check_size(own: Waiting, matches: Sequence[Kept]) -> None:
    """Check that the pairs of an event fit into memory.

    Raises:
        Malformed: they are too large.
    """
    size = len(matches) * len(own.event.value) + sum(len(each.waiting.event.value) for each in matches)
    if size > _MOST_PAIRED:
        raise Malformed(
            f"the event makes {len(matches)} pairs of {size} bytes together; the limit is {_MOST_PAIRED}:"
            " a smaller `within` makes fewer"
        )
