"""A pipeline: a list of steps between a source set and a channel. Sans-I/O: the bytes of an event in, of events out.

A pipeline of plain steps runs event by event (`run`). One with steps that wait runs on batches (`start`, `finish`).
"""

import functools
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from services.process_api.pipeline.channels import channels_of, once
from services.process_api.pipeline.draft import Draft, relabelled
from services.process_api.pipeline.part import Forwarded, Part
from services.process_api.pipeline.segment import Segment, segments
from services.process_api.pipeline.shadowing import ShadowOptions, check_pipeline
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked, Outcome, Rejected, failure
from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.scope import OnStep, Scope
from services.process_api.pipeline.steps.stateful.step import Due, definitions, stateful_on_top
from services.process_api.pipeline.steps.step import ChannelName, NotKnown
from services.process_api.state.running import RunningState
from shared.bus.protocol import Headers, Outgoing
from shared.errors import Malformed
from shared.events.event import channel, json_string
from shared.events.headers import packed_provenance
from shared.settings import Options

EVENT, CHANNEL = "event", "channel"
"""The places of errors before the first step and after the last one."""

_VERSION_LENGTH = 8

_make = tuple.__new__
"""Makes a named tuple at half of the cost of a call of its class."""


class PipelineOptions(Options):
    """One pipeline."""

    sources: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    """The sources whose events it takes, by name; `*` stands for any characters. An event goes through every pipeline
    that takes its source."""

    channel: ChannelName | None = None
    """The channel of its events, unless a `route` step sets another."""

    steps: Annotated[list[AnyStep], AfterValidator(stateful_on_top)] = Field(default_factory=list)
    """The steps, in order."""

    shadow: ShadowOptions | None = None
    """A new version that runs beside this one on the same events: its results are compared, and not published."""

    @model_validator(mode="after")
    def _can_have_its_shadow(self) -> Self:
        if self.shadow is not None:
            check_pipeline(self.steps)
        return self

    @property
    def version(self) -> str:
        """The first characters of a hash of these settings. The shadow and the code of functions do not count."""
        written = json.dumps(self.model_dump(mode="json", by_alias=True, exclude={"shadow"}), sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()[:_VERSION_LENGTH]


class Input(NamedTuple):
    """One event for a pipeline."""

    value: bytes
    headers: Headers = ()
    """Of the events that it becomes."""
    spliced: bool = False
    """Whether the system layer spliced it: `data` is its last attribute, and only the parts that a step uses are
    parsed."""
    part: Part | None = None
    """The part of the pipeline that it goes on in; None at the beginning."""
    edited: str = ""
    """See `Draft.edited`."""


class Pipeline:
    """Runs events through steps. Use it only in the thread that made it."""

    def __init__(self, name: str, options: PipelineOptions, context: StepContext | None = None) -> None:
        """Compile the steps.

        Raises:
            ValueError: as for `StepOptions.build`.
        """
        self.name = name
        self.version = options.version
        self.sources, self.channel = tuple(options.sources), options.channel
        self.label = f"{name}@{self.version}"
        """Its name in dead letters."""
        self.places = [f"steps.{number}.{step.kind}" for number, step in enumerate(options.steps)]
        """The names of its steps in errors and metrics."""
        self._context = replace(context or StepContext(), pipeline=name, closing=AsyncExitStack())
        steps = [step.build(self._context.at(place)) for place, step in zip(self.places, options.steps, strict=True)]
        self._segments = segments(self.places, steps, options.steps)
        self._steps = self._segments[0].plain
        self._relabels = None if options.steps or self.channel is None else _written(self.channel)
        """The channel as a key and as JSON, where the pipeline does nothing but set it."""
        self.parts = len(self._segments)
        """How many parts `repartition` steps divide it into."""
        self._timed = [step for segment in self._segments for step, _ in segment.timed]
        self.timed = bool(self._timed)
        """Whether `due` may yield anything."""
        self.definitions = definitions(name, zip(self.places, options.steps, strict=True))
        """Of the state of each step that keeps any, by its place."""
        self.stateful = any(segment.stateful for segment in self._segments)
        """Whether a step keeps state."""
        self.waits = any(segment.waits for segment in self._segments)
        """Whether a step waits for something. Then `start` and `finish` run the pipeline, else `run`."""
        self.holds = any(step.holds for step in options.steps)
        """Whether a step may keep an event, or its result, for later."""
        self.channels = channels_of(options.channel, options.steps)
        """The channels that its events can be on; None where their content decides."""
        self.quick = all(segment.quick for segment in self._segments)
        """Whether `run` is worth a try though a step waits."""
        self.shadowed = options.shadow is not None
        """Whether another version runs beside it."""

    def run(
        self,
        value: bytes,
        headers: Headers = (),
        on_step: OnStep | None = None,
        *,
        spliced: bool = False,
        part: Part | None = None,
    ) -> list[Outgoing]:
        """Return the events that one event becomes, keyed by their channels and with these headers, without waiting.

        An event that is filtered out becomes none. The same bytes always become the same events, unless an expression
        uses the time. For `spliced` and `part` see `Input`.

        Raises:
            Rejected: the bytes are not an event, a step failed on it, or it has no channel at the end. No event passes.
            Blocked: a step waits for something. The event must come again, and those behind it wait.
            NotKnown: a step would have to wait; `start` and `finish` run the event.
        """
        place = EVENT
        try:
            if self._relabels is not None and spliced and part is None:
                key, wanted = self._relabels
                made = relabelled(value, wanted)
                if made is not None:
                    return [_make(Outgoing, (key, made, headers))]
            drafts: Sequence[Draft]
            if part is None:  # nearly always
                drafts, steps, number = (Draft(value, spliced=spliced),), self._steps, 0
            else:
                number = part.number
                drafts, steps = (_draft(value, spliced, part),), self._segments[number].plain
            for place, apply in steps:
                drafts = apply(drafts[0]) if len(drafts) == 1 else [made for draft in drafts for made in apply(draft)]
                if on_step is not None:
                    on_step(place)
            place = CHANNEL
            return self._outputs(drafts, headers, number)
        except NotKnown:
            raise
        except Exception as exc:  # see `failure`
            raise self._failure(place, exc) from exc

    async def start(self, inputs: Sequence[Input], scope: Scope) -> list[Outcome]:
        """Run the events of a batch through the steps before the first stateful one; return the outcome of each."""
        if self.parts == 1:
            outcomes = await self._start(self._segments[0], inputs, scope)
        else:
            found: dict[int, Outcome] = {}
            for number, segment in enumerate(self._segments):
                mine = [place for place, each in enumerate(inputs) if _number(each.part) == number]
                if mine:
                    made = await self._start(segment, [inputs[place] for place in mine], scope)
                    found.update(zip(mine, made, strict=True))
            outcomes = [found[place] for place in range(len(inputs))]
        return [self._failure(EVENT, each) if isinstance(each, Blocked) else each for each in outcomes]

    async def _start(self, segment: Segment, inputs: Sequence[Input], scope: Scope) -> list[Outcome]:
        return await segment.head.resume([self._draft(each) for each in inputs], scope, self._timer(scope))

    def finish_stateless(
        self, outcome: Outcome, headers: Headers, part: Part | None = None
    ) -> list[Outgoing] | Rejected | Blocked:
        """Return the events that one event becomes, by its outcome of `start`, where no step keeps state."""
        return self._finished(outcome, headers, 0 if part is None else part.number)

    async def finish(
        self, outcome: Outcome, headers: Headers, scope: Scope, part: Part | None = None
    ) -> list[Outgoing] | Rejected | Blocked:
        """Run one event, by its outcome of `start`, through the steps that are left; return the events it becomes."""
        number = _number(part)
        if (segment := self._segments[number]).stateful:
            name = f"{self.name}/{number}"
            first = name not in scope.timed
            scope.timed.add(name)
            (outcome,) = await segment.tail.resume([outcome], scope, self._timer(scope) if first else None)
        return self._finished(outcome, headers, number)

    def _timer(self, scope: Scope) -> Callable[[], OnStep] | None:
        return None if scope.step_timer is None else functools.partial(scope.step_timer, self)

    def _finished(self, outcome: Outcome, headers: Headers, number: int) -> list[Outgoing] | Rejected | Blocked:
        if isinstance(outcome, Rejected | Blocked):
            return self._failure(CHANNEL, outcome)
        try:
            return self._outputs(outcome, headers, number)
        except Exception as exc:  # noqa: BLE001 -- see `failure`
            return self._failure(CHANNEL, exc)

    async def due(self, scope: Scope) -> AsyncIterator[tuple[Due, bytes, list[Outgoing] | Rejected | Blocked]]:
        """Yield the results that the time has made due, their bytes, and the events that they become."""
        assert scope.state is not None, "a pipeline is stateful"
        for number, segment in enumerate(self._segments):
            for step, behind in segment.timed:
                for result in step.due(scope.state.step(self.name, step.place)):
                    value = result.value()  # before a step changes it
                    scope.state.at_result(result.key, packed_provenance(result.headers) or b"")
                    (outcome,) = await behind.resume([result.failed or (result.draft,)], scope)
                    yield result, value, self._finished(outcome, result.headers, number)

    def may_be_due(self, state: RunningState) -> bool:
        """Return whether `due` may yield anything now."""
        return any(step.may_be_due(state.step(self.name, step.place)) for step in self._timed)

    def next_due(self, state: RunningState) -> int | None:
        """Return when `due` should be called without an event, in milliseconds since 1970; None for not at all."""
        times = [step.next_due(state.step(self.name, step.place)) for step in self._timed]
        return min((at for at in times if at is not None), default=None)

    async def close(self) -> None:
        """Close what the steps hold open."""
        await self._context.closing.aclose()

    def _draft(self, given: Input) -> Outcome:
        try:
            return (_draft(given.value, given.spliced, given.part, given.edited),)
        except Exception as exc:  # noqa: BLE001 -- see `failure`
            return self._failure(EVENT, exc)

    def _failure(self, place: str, error: Exception) -> Rejected | Blocked:
        found = failure(place, error)
        if isinstance(found, Blocked):
            found.pipeline = self.name
        return found

    def _outputs(self, drafts: Sequence[Draft], headers: Headers, number: int) -> list[Outgoing]:
        """Return the events that leave a part: for subscribers, or for the next part."""
        if number < self.parts - 1:
            return once([self._forwarded(draft, headers, number + 1) for draft in drafts])
        if len(drafts) == 1:  # nearly always
            return [self._outgoing(drafts[0], headers)]
        return once([self._outgoing(draft, headers) for draft in drafts])

    def _forwarded(self, draft: Draft, headers: Headers, number: int) -> Forwarded:
        draft.check()
        # The channel of the pipeline precedes the event's own.
        kept = draft.channel or (None if self.channel else draft.attribute("channel"))
        made = Forwarded((draft.attribute("subject") or "").encode(), draft.without_channel(), headers)
        made.part = Part(self.name, number, "" if kept is None else channel(kept), edited=draft.edited)
        return made

    def _outgoing(self, draft: Draft, headers: Headers) -> Outgoing:
        """Return an event for subscribers: its channel is the key."""
        chosen = draft.channel or self.channel or draft.attribute("channel")
        if chosen is None:
            raise Malformed(
                "the event has no channel: neither `channel` of the pipeline nor a route step sets one"
                """ (a route is an expression: a constant needs quotes of its own, such as '"orders"')"""
            )
        key, wanted = _written(chosen)
        draft.check()
        return _make(Outgoing, (key, draft.encoded(wanted), headers))


def _number(part: Part | None) -> int:
    return 0 if part is None else part.number


def _draft(value: bytes, spliced: bool, part: Part | None, edited: str = "") -> Draft:  # noqa: FBT001 -- for each event
    draft = Draft(value, spliced=spliced)
    draft.edited = edited or ("" if part is None else part.edited)
    if part is not None and part.channel:
        draft.channel = channel(part.channel)
    return draft


@functools.lru_cache(maxsize=4096)
def _written(name: str) -> tuple[bytes, bytes]:
    """Return a channel as a key and as JSON."""
    return channel(name).encode(), json_string(name)
