"""The interface of a step that keeps state. Sans-I/O."""

import hashlib
import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked, Outcome, Rejected, failure
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import StepOptions
from services.process_api.state.step_state import StepState
from shared.bus.protocol import Headers

DUE_LIMIT = 100
"""Results that time makes due and that one call returns at most; the others follow with the next call."""

_FINGERPRINT_LENGTH = 8


class Due(NamedTuple):
    """A result that no event causes, but the time."""

    draft: Draft
    headers: Headers
    key: bytes
    """Of the records that it is made of: steps behind that keep state group it by that, as they group events."""
    failed: Rejected | Blocked | None = None
    """Why there is no result; `draft` is what it should have been made of."""

    def value(self) -> bytes:
        """Return the event, without a channel."""
        return self.draft.without_channel()


class StatefulOptions(StepOptions):
    """The settings of a step that keeps state."""

    stateful: ClassVar = True
    holds: ClassVar = True
    takes_copies: ClassVar = False
    """Whether it may stand behind a step that puts an event on several channels; else it takes each for one more."""

    @property
    def fingerprint(self) -> str:
        """A hash of the settings: with other settings, the step begins with no state.

        Settings with their defaults have no part in it: a release that adds one keeps the state.
        """
        written = json.dumps(self.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()[:_FINGERPRINT_LENGTH]


class StatefulStep:
    """A step that keeps state. One object serves all partitions; each call gets the state of one of them."""

    def __init__(self, context: StepContext) -> None:
        self.pipeline = context.pipeline
        self.place = context.place

    @abstractmethod
    def process(self, draft: Draft, state: StepState) -> Sequence[Draft]:
        """Return what becomes of an event now.

        Raises:
            Malformed: the event can never pass. What it has changed is undone.
        """

    def due(self, state: StepState) -> Iterable[Due]:
        """Return results that the time has made due, `DUE_LIMIT` at most; they go through the steps behind.

        Where settings or data make one fail, it returns the failure: an error would end the run of the partition, and
        the next one as well.
        """
        del state
        return ()

    def may_be_due(self, state: StepState) -> bool:
        """Return whether `due` may return anything now; this is called for each event, and costs less."""
        del state
        return True

    def next_due(self, state: StepState) -> int | None:
        """Return when `due` should be called without an event, in milliseconds since 1970; None for not at all."""
        del state
        return None

    async def apply_batch(self, drafts: Sequence[Draft], scope: Scope) -> Sequence[Outcome]:
        """Run what one event has become, in order."""
        assert scope.state is not None, "a pipeline is stateful"
        state = scope.state.step(self.pipeline, self.place)
        outcomes: list[Outcome] = []
        state.limited = True  # state that the bus refuses would end the run, and of a result no record is to blame
        for draft in drafts:
            try:
                outcomes.append(self.process(draft, state))
            except Exception as exc:  # noqa: BLE001 -- see `failure`; raised, it would make the others run twice
                outcomes.append(failure(self.place, exc))
        state.limited = False
        return outcomes


def definitions(pipeline: str, steps: Iterable[tuple[str, StepOptions]]) -> dict[str, str]:
    """Return what the state of each step is known by, by its place; see `services.process_api.state.definitions`.

    The place is no part of it: a step keeps its state when other steps are added or removed.
    """
    found: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for place, step in steps:
        if isinstance(step, StatefulOptions):
            name = f"{pipeline}/{step.kind}/{step.fingerprint}"
            counts[name] += 1
            found[place] = f"{name}/{counts[name]}"
    return found


def stateful_on_top(steps: list[StepOptions]) -> list[StepOptions]:
    """Return the steps of a pipeline.

    Raises:
        ValueError: a step inside another one keeps state or divides the pipeline, or one that keeps state would take
            the same event several times.
    """
    copying = ""
    for number, step in enumerate(steps):
        if copying and isinstance(step, StatefulOptions) and not step.takes_copies:
            raise ValueError(
                f"{number}.{step.kind} would take an event once for each channel on which {copying} puts it;"
                f" expected emit behind {step.kind}"
            )
        if any(each.copies() for each in step.all_steps()):
            copying = f"{number}.{step.kind}"
        for inner in step.all_steps():
            if inner is not step and inner.divides:
                raise ValueError(
                    f"{number}.{step.kind} holds the step {inner.kind};"
                    f" expected {inner.kind} among the steps of the pipeline itself"
                )
            if inner is not step and inner.stateful:
                raise ValueError(
                    f"{number}.{step.kind} holds the step {inner.kind}, which keeps state;"
                    f" expected {inner.kind} among the steps of the pipeline itself"
                )
    return steps
