"""`- aggregate: {window: {tumbling: 60}, values: {orders: count}}`: one event for each window of time."""

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.stateful import sessions
from services.process_api.pipeline.steps.stateful.accumulators import Computed, Function, Value
from services.process_api.pipeline.steps.stateful.grouping import By, Group, Grouping, kept_key
from services.process_api.pipeline.steps.stateful.results import Open, Results, pack, unpack
from services.process_api.pipeline.steps.stateful.step import DUE_LIMIT, Due, StatefulOptions, StatefulStep
from services.process_api.pipeline.steps.stateful.timing import MS, EventTime, TimedOptions
from services.process_api.pipeline.steps.stateful.windows import Window, union
from services.process_api.pipeline.steps.step import Example
from services.process_api.state.keys import EVENT_TIMER, TIME_BYTES, WALL_TIMER, time_key, time_of
from services.process_api.state.step_state import StepState
from shared.settings import EventType, Name

_RESERVED = {"start", "end", "final", "by"}


def _free(values: dict[str, Value]) -> dict[str, Value]:
    if taken := sorted(_RESERVED & values.keys()):
        raise ValueError(f"{taken[0]!r} is a member of every result; choose another name")
    return values


class Aggregate(TimedOptions):
    """What is computed, over which events."""

    window: Window
    """The windows, by the time of the events."""

    values: Annotated[dict[Name, Value], Field(min_length=1, max_length=100), AfterValidator(_free)]
    """What is computed: each name with `count`, or with a function of a JSONata expression, such as `{sum: amount}`.
    Events for which the expression is undefined or null are left out."""

    by: By = Field(default_factory=list)
    """JSONata expressions, one or a list, that divide the events of one subject; each part has windows of its own."""

    early: float | None = Field(default=None, ge=0.01, le=86_400)
    """Seconds after which a window that has changed gives a result before it ends, with `final: false`. Without it, a
    window gives one result, when it ends."""

    type: EventType = Field(default="aggregate", min_length=1, max_length=200)
    """The `type` of the results."""


class AggregateOptions(StatefulOptions):
    """Computes values over windows of time. The events end here; each window of each subject gives an event."""

    kind: ClassVar = "aggregate"
    example: ClassVar = Example(
        "aggregate: {window: {tumbling: 60}, values: {orders: count, total: {sum: amount}}}",
        [
            ({"time": "2026-01-01T10:00:10Z", "data": {"amount": 2}}, []),
            ({"time": "2026-01-01T10:00:50Z", "data": {"amount": 0.5}}, []),
            (
                {"time": "2026-01-01T10:01:00Z", "data": {"amount": 9}},
                [
                    {
                        "type": "aggregate",
                        "time": "2026-01-01T10:01:00.000Z",
                        "data": {
                            "start": "2026-01-01T10:00:00.000Z",
                            "end": "2026-01-01T10:01:00.000Z",
                            "final": True,
                            "orders": 2,
                            "total": 2.5,
                        },
                    }
                ],
            ),
        ],
    )

    aggregate: Aggregate
    """What is computed, over which windows."""

    def expressions(self) -> list[str]:
        found = list(self.aggregate.by)
        return found + [value.expression for value in self.aggregate.values.values() if isinstance(value, Function)]

    def build(self, context: StepContext) -> "AggregateStep":
        return AggregateStep(self.aggregate, self.fingerprint, context)


class AggregateStep(StatefulStep):
    """A key is a group and the start of a window, its value the window; see `sessions` for those."""

    def __init__(self, options: Aggregate, fingerprint: str, context: StepContext) -> None:
        super().__init__(context)
        self._time = EventTime(options)
        self._grouping = Grouping(options.by)
        self._spans = options.window.spans
        self._values = [Computed(name, value) for name, value in options.values.items()]
        self._early = None if options.early is None else int(options.early * MS)
        self._results = Results(self.pipeline, fingerprint, options.type, options.by, self._values)

    def process(self, draft: Draft, state: StepState) -> Sequence[Draft]:
        at = self._time.of(draft, state)
        group = self._grouping.of(draft, state.moment)
        time = self._time.advance(at, state)
        values = [computed.of(draft, at) for computed in self._values]
        source, subject = (draft.attribute("source") or "").removeprefix("/sources/"), draft.attribute("subject") or ""
        key = kept_key(state.moment.key, subject)
        fresh = [
            Open(span.start, span.end, subject, group.values, source, values, kept_key=key)
            for span in self._spans.of(at)
        ]
        if not sum([self._add(window, group, time, state) for window in fresh]):
            raise self._time.late(at, state)
        return ()

    def due(self, state: StepState) -> Iterable[Due]:
        now = state.moment.now
        if self._early is not None and state.begins():
            # The clock of an earlier run was ahead: nothing waits longer than `early`.
            for _, key in state.take_beyond(WALL_TIMER, now + self._early, 2**31):
                state.set_timer(WALL_TIMER, now, key)
        time = self._time.pass_idle(state)
        ended = state.take_due(EVENT_TIMER, time - self._time.lateness, DUE_LIMIT)
        for _, key in ended:
            window = self._take(key, state)
            assert window is not None, "a window has one timer for its end"
            if window.early_at:
                state.clear_timer(WALL_TIMER, window.early_at, key)
            yield self._results.of(window, key[:-TIME_BYTES], now, final=True)
        for _, key in state.take_due(WALL_TIMER, now, DUE_LIMIT - len(ended)):
            window = self._take(key, state)
            if window is None:  # its timer was moved; see above
                continue
            window.revision += 1
            window.early_at = 0
            self._store(window, key[:-TIME_BYTES], state)
            yield self._results.of(window, key[:-TIME_BYTES], now, final=False)

    def may_be_due(self, state: StepState) -> bool:
        return self._early is not None or self._time.is_due(self._time.lateness, state)

    def next_due(self, state: StepState) -> int | None:
        times = (state.next_timer(WALL_TIMER), self._time.next_due(self._time.lateness, state))
        return min((at for at in times if at is not None), default=None)

    def _add(self, window: Open, group: Group, time: int, state: StepState) -> bool:
        """Add the window that one event alone would make; return whether it is open still."""
        is_session = bool(self._spans.gap)
        own = sessions.touching(group.key, window.span, state) if is_session else self._load(group.key, window, state)
        # An event before the limit might have to join two sessions of which one is closed. One at the limit, as the
        # newest event is without lateness, touches none that is.
        if (is_session or not own) and (window.start + 1 if is_session else window.end) + self._time.lateness <= time:
            return False
        for other in own:
            window = self._merged(other, window)
            if is_session:
                self._clear_timers(other, group.key, state)
        if self._early is not None and not window.early_at:
            window.early_at = state.moment.now + self._early
        if is_session:
            sessions.replace(group.key, own, window, state)
        else:
            state.put(_key(group.key, window.start), pack([window]))
        if is_session or not own or own[0].early_at != window.early_at:  # else it has its timers
            self._set_timers(window, group.key, state)
        return True

    def _merged(self, one: Open, other: Open) -> Open:
        """Return the window that two make; the second one came later."""
        span = union(one.span, other.span)
        values = [
            computed.merged(left, right)
            for computed, left, right in zip(self._values, one.values, other.values, strict=True)
        ]
        return Open(
            span.start,
            span.end,
            other.subject,
            other.by,
            other.source,
            values,
            max(one.revision, other.revision),
            one.early_at or other.early_at,
            other.kept_key,
        )

    def _take(self, key: bytes, state: StepState) -> Open | None:
        """Remove the window of a timer, and return it; None if it is gone."""
        group, start = key[:-TIME_BYTES], time_of(key[-TIME_BYTES:])
        if not self._spans.gap:
            found = unpack(state.get(key))
            state.delete(key)
            return found[0] if found else None
        window = sessions.of_start(group, start, state)
        if window is not None:
            sessions.replace(group, [window], None, state)
        return window

    def _store(self, window: Open, group: bytes, state: StepState) -> None:
        if self._spans.gap:
            sessions.replace(group, (), window, state)
        else:
            state.put(_key(group, window.start), pack([window]))

    def _load(self, group: bytes, window: Open, state: StepState) -> list[Open]:
        """Return the window of this time that is open, if there is one."""
        return unpack(state.get(_key(group, window.start)))

    def _set_timers(self, window: Open, group: bytes, state: StepState) -> None:
        key = group + time_key(window.start)
        state.set_timer(EVENT_TIMER, window.end, key)
        if window.early_at:
            state.set_timer(WALL_TIMER, window.early_at, key)

    def _clear_timers(self, window: Open, group: bytes, state: StepState) -> None:
        key = group + time_key(window.start)
        state.clear_timer(EVENT_TIMER, window.end, key)
        if window.early_at:
            state.clear_timer(WALL_TIMER, window.early_at, key)


def _key(group: bytes, start: int) -> bytes:
    """Return the key of a window, other than a session."""
    return group + time_key(start)
