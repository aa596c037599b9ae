"""Runs a list of steps: event by event where no step waits, and on all events of a batch where one does. Sans-I/O.

A step that waits works on the batch, so that one query serves all of its events. The list is cut into segments at such
steps; the plain steps between them run event by event. The steps that hold lists of their own use this module too.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.outcome import Blocked, Outcome, Rejected, failure, joined
from services.process_api.pipeline.steps.scope import OnStep, Scope
from services.process_api.pipeline.steps.step import AnyStep, Step, WaitingStep
from shared.errors import Malformed, Unavailable

Placed: TypeAlias = tuple[str, AnyStep]
"""A step and its place, such as `steps.2.enrich`."""

_Plain: TypeAlias = list[tuple[str, Callable[[Draft], Sequence[Draft]]]]
_Waiting: TypeAlias = tuple[str, WaitingStep]


class StepList:
    """Steps, in order."""

    def __init__(self, steps: Sequence[Placed]) -> None:
        self.waits = any(isinstance(step, WaitingStep) for _, step in steps)
        """Whether a step waits; then only `apply_batch` runs the list."""
        self._segments = list(_segments(steps))

    def apply(self, draft: Draft) -> Sequence[Draft]:
        """Run an event through plain steps.

        Raises:
            Rejected: a step fails on the event.
            Blocked: a step waits for something.
        """
        outcome: Outcome = (draft,)
        for segment in self._segments:
            assert isinstance(segment, list), "no step waits"
            outcome = run_plain(segment, (draft,))
        if isinstance(outcome, Rejected | Blocked):
            raise outcome
        return outcome

    async def apply_batch(self, drafts: Sequence[Draft], scope: Scope) -> list[Outcome]:
        """Run events through the steps; return the outcome of each."""
        return await self.resume([(draft,) for draft in drafts], scope)

    async def resume(
        self, outcomes: Sequence[Outcome], scope: Scope, timer: Callable[[], OnStep] | None = None
    ) -> list[Outcome]:
        """Run events, each of which may have become several or failed already; return the outcome of each.

        `timer` begins to time the steps: those that wait on all events together, the others on the first one.
        """
        found = list(outcomes)
        for segment in self._segments:
            on_step = None if timer is None else timer()
            if isinstance(segment, list):
                for number, outcome in enumerate(found):
                    if not isinstance(outcome, Rejected | Blocked) and outcome:
                        found[number] = run_plain(segment, outcome, on_step)
                        on_step = None
                        if scope.turns.due():
                            await scope.turns.rest()
            else:
                found = await _run_waiting(segment, found, scope)
                if on_step is not None:
                    on_step(segment[0])
        return found


def run_plain(steps: _Plain, drafts: Sequence[Draft], on_step: OnStep | None = None) -> Outcome:
    """Run what one event has become through plain steps."""
    place = ""
    try:
        for place, apply in steps:
            drafts = apply(drafts[0]) if len(drafts) == 1 else [made for draft in drafts for made in apply(draft)]
            if on_step is not None:
                on_step(place)
    except Exception as exc:  # noqa: BLE001 -- see `failure`
        return failure(place, exc)
    return drafts


async def _run_waiting(segment: _Waiting, outcomes: Sequence[Outcome], scope: Scope) -> list[Outcome]:
    drafts: list[Draft] = []
    alone = True  # nearly always, each outcome is one event
    for outcome in outcomes:
        if isinstance(outcome, Rejected | Blocked):
            alone = False
        else:
            alone = alone and len(outcome) == 1
            drafts += outcome
    if not drafts:
        return list(outcomes)
    applied = await _applied(segment, drafts, scope)
    if alone:
        return list(applied)
    made = iter(applied)
    return [
        outcome if isinstance(outcome, Rejected | Blocked) else joined([next(made) for _ in outcome])
        for outcome in outcomes
    ]


async def _applied(segment: _Waiting, drafts: Sequence[Draft], scope: Scope) -> Sequence[Outcome]:
    """Return one outcome for each draft. An error of the step as a whole is found out event by event."""
    place, step = segment
    try:
        found = await step.apply_batch(drafts, scope)
        return [_placed(place, outcome) for _, outcome in zip(drafts, found, strict=True)]
    except Exception as exc:  # noqa: BLE001 -- see `failure`
        if len(drafts) == 1:
            return [failure(place, exc)]
        return [outcome for draft in drafts for outcome in await _applied(segment, (draft,), scope)]
    finally:
        scope.turns.waited()


def _placed(place: str, outcome: Sequence[Draft] | Malformed | Unavailable) -> Outcome:
    return failure(place, outcome) if isinstance(outcome, Exception) else outcome


def _segments(steps: Iterable[Placed]) -> "Iterable[_Plain | _Waiting]":
    plain: _Plain = []
    for place, step in steps:
        if isinstance(step, Step):
            plain.append((place, step.apply))
            continue
        if plain:
            yield plain
            plain = []
        yield place, step
    if plain:
        yield plain
