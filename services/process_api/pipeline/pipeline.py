"""A pipeline: a list of steps between a source set and a channel. Sans-I/O: the bytes of an event in, of events out.

A pipeline of plain steps runs event by event (`run`). One with steps that wait runs on batches (`start`, `finish`).
"""

import functools
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.shadowing import ShadowOptions, check_pipeline
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked, Outcome, Rejected, failure
from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.scope import OnStep, Scope
from services.process_api.pipeline.steps.stateful.step import Due, StatefulStep, definitions, stateful_on_top
from services.process_api.pipeline.steps.step import ChannelName, Step
from services.process_api.pipeline.steps.step_list import StepList
from services.process_api.state.running import RunningState
from shared.bus.protocol import Headers, Outgoing
from shared.errors import Malformed
from shared.events.event import channel, json_string
from shared.settings import Options

EVENT, CHANNEL = "event", "channel"
"""The places of errors before the first step and after the last one."""

_VERSION_LENGTH = 8


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
        self._context = replace(context or StepContext(), pipeline=name, on_close=[])
        steps = [step.build(self._context.at(place)) for place, step in zip(self.places, options.steps, strict=True)]
        placed = list(zip(self.places, steps, strict=True))
        stateful = next((number for number, step in enumerate(options.steps) if step.stateful), len(steps))
        self._head, self._tail = StepList(placed[:stateful]), StepList(placed[stateful:])
        self._timed = [
            (step, StepList(placed[number + 1 :]))
            for number, (_, step) in enumerate(placed)
            if isinstance(step, StatefulStep)
        ]
        """The steps that keep state, each with those behind it."""
        self.timed = bool(self._timed)
        """Whether `due` may yield anything."""
        self.definitions = definitions(name, zip(self.places, options.steps, strict=True))
        """Of the state of each step that keeps any, by its place."""
        self.stateful = stateful < len(steps)
        """Whether a step keeps state: the steps from that one on run on one event after the other."""
        self.waits = self.stateful or self._head.waits
        """Whether a step waits for something. Then `start` and `finish` run the pipeline, else `run`."""
        self._steps = [(place, step.apply) for place, step in placed if isinstance(step, Step)]
        self.shadowed = options.shadow is not None
        """Whether another version runs beside it."""

    def run(
        self, value: bytes, headers: Headers = (), on_step: OnStep | None = None, *, spliced: bool = False
    ) -> list[Outgoing]:
        """Return the events that one event becomes, keyed by their channels and with these headers; no step waits.

        An event that is filtered out becomes none. The same bytes always become the same events, unless an expression
        uses the time. Of an event that is `spliced` (by the system layer: `data` is its last attribute) only the parts
        that a step uses are parsed.

        Raises:
            Rejected: the bytes are not an event, a step failed on it, or it has no channel at the end. No event passes.
            Blocked: a step waits for something. The event must come again, and those behind it wait.
        """
        place = EVENT
        try:
            drafts: Sequence[Draft] = (Draft(value, spliced=spliced),)
            for place, apply in self._steps:
                drafts = apply(drafts[0]) if len(drafts) == 1 else [made for draft in drafts for made in apply(draft)]
                if on_step is not None:
                    on_step(place)
            place = CHANNEL
            return self._outputs(drafts, headers)
        except Exception as exc:  # see `failure`
            raise self._failure(place, exc) from exc

    async def start(self, inputs: Sequence[Input], scope: Scope) -> list[Outcome]:
        """Run the events of a batch through the steps before the first stateful one; return the outcome of each."""
        outcomes = await self._head.resume([self._draft(each) for each in inputs], scope, self._timer(scope))
        return [self._failure(EVENT, each) if isinstance(each, Blocked) else each for each in outcomes]

    async def finish(self, outcome: Outcome, headers: Headers, scope: Scope) -> list[Outgoing] | Rejected | Blocked:
        """Run one event, by its outcome of `start`, through the steps that are left; return the events it becomes."""
        if self.stateful:
            first = self.name not in scope.timed
            scope.timed.add(self.name)
            (outcome,) = await self._tail.resume([outcome], scope, self._timer(scope) if first else None)
        return self._finished(outcome, headers)

    def _timer(self, scope: Scope) -> Callable[[], OnStep] | None:
        return None if scope.step_timer is None else functools.partial(scope.step_timer, self)

    def _finished(self, outcome: Outcome, headers: Headers) -> list[Outgoing] | Rejected | Blocked:
        if isinstance(outcome, Rejected | Blocked):
            return self._failure(CHANNEL, outcome)
        try:
            return self._outputs(outcome, headers)
        except Exception as exc:  # noqa: BLE001 -- see `failure`
            return self._failure(CHANNEL, exc)

    async def due(self, scope: Scope) -> AsyncIterator[tuple[Due, bytes, list[Outgoing] | Rejected | Blocked]]:
        """Yield the results that the time has made due, their bytes, and the events that they become."""
        assert scope.state is not None, "a pipeline is stateful"
        for step, behind in self._timed:
            for result in step.due(scope.state.step(self.name, step.place)):
                value = result.value()  # before a step changes it
                (outcome,) = await behind.resume([(result.draft,)], scope)
                yield result, value, self._finished(outcome, result.headers)

    def next_due(self, state: RunningState) -> int | None:
        """Return when `due` should be called without an event, in milliseconds since 1970; None for not at all."""
        times = [step.next_due(state.step(self.name, step.place)) for step, _ in self._timed]
        return min((at for at in times if at is not None), default=None)

    async def close(self) -> None:
        """Close what the steps hold open."""
        while self._context.on_close:
            await self._context.on_close.pop()()

    def _draft(self, given: Input) -> Outcome:
        try:
            return (Draft(given.value, spliced=given.spliced),)
        except Exception as exc:  # noqa: BLE001 -- see `failure`
            return self._failure(EVENT, exc)

    def _failure(self, place: str, error: Exception) -> Rejected | Blocked:
        found = failure(place, error)
        if isinstance(found, Blocked):
            found.pipeline = self.name
        return found

    def _outputs(self, drafts: Sequence[Draft], headers: Headers) -> list[Outgoing]:
        return [
            # This costs half of a call of the class.
            tuple.__new__(Outgoing, (*self._encoded(draft), headers))
            for draft in drafts
        ]

    def _encoded(self, draft: Draft) -> tuple[bytes, bytes]:
        """Return an event's channel as a key, and its bytes on that channel."""
        chosen = draft.channel or self.channel or draft.attribute("channel")
        if chosen is None:
            raise Malformed(
                "the event has no channel: neither `channel` of the pipeline nor a route step sets one"
                """ (a route is an expression: a constant needs quotes of its own, such as '"orders"')"""
            )
        key, wanted = _written(chosen)
        draft.check()
        return key, draft.encoded(wanted)


@functools.lru_cache(maxsize=4096)
def _written(name: str) -> tuple[bytes, bytes]:
    """Return a channel as a key and as JSON."""
    return channel(name).encode(), json_string(name)
