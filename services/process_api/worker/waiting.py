"""Runs the records of a batch through pipelines of which one waits: all records at once, up to the steps with state.

Sans-I/O: the steps do the waiting.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from services.process_api.operations.gate import Gate
from services.process_api.pipeline.pipeline import Input, Pipeline
from services.process_api.pipeline.steps.outcome import Blocked, Outcome, Rejected
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.stateful.step import Due
from services.process_api.state.running import RunningState
from services.process_api.worker.routing import Refused, Routed, Router
from shared.bus.protocol import Outgoing, Record

Result: TypeAlias = list[Outgoing] | Rejected
"""What a pipeline makes of a record."""

RunPlain: TypeAlias = Callable[[Pipeline, Record, Routed], Result]
"""Runs a pipeline that does not wait; raises `Blocked`."""

Checked: TypeAlias = Callable[[Result], Result]
"""Rejects outputs that are too large."""


MadeDue: TypeAlias = tuple[Due, bytes, Result]
"""A result that the time has made due, its bytes, and what it becomes."""


@dataclass(slots=True)
class Plan:
    """What is done with one record."""

    record: Record
    routed: Routed | Refused
    pipelines: Sequence[Pipeline]
    skipped: bool = False
    """Whether its pipelines have run on it before a rewind."""
    started: dict[str, Outcome] = field(default_factory=dict)
    """Of the pipelines that wait: by name, what the record has become before their first stateful step."""


def planned(records: Sequence[Record], router: Router, gate: Gate | None) -> tuple[list[Plan], Blocked | None]:
    """Return the plans of records, up to the first one whose pipeline is paused or not loaded, and that it is."""
    plans: list[Plan] = []
    for record in records:
        try:
            plans.append(_planned(record, router, gate))
        except Blocked as exc:
            return plans, exc
    return plans, None


def _planned(record: Record, router: Router, gate: Gate | None) -> Plan:
    routed = router.route(record)
    if isinstance(routed, Refused):
        return Plan(record, routed, ())
    pipelines = router.pipelines(routed, record.timestamp)
    if gate is None or not pipelines:
        return Plan(record, routed, pipelines)
    admitted = gate.admitted(pipelines, record.offset, routed[4], routed[3])
    return Plan(record, routed, admitted, skipped=not admitted)


async def start(pipelines: Iterable[Pipeline], plans: Sequence[Plan], scope: Scope) -> None:
    """Let each pipeline that waits start on all the records that it takes."""
    for pipeline in pipelines:
        if not pipeline.waits:
            continue
        mine: list[Plan] = []
        inputs: list[Input] = []
        for plan in plans:
            if pipeline in plan.pipelines and not isinstance(plan.routed, Refused):
                _, headers, spliced, replay, part = plan.routed
                mine.append(plan)
                edited = "" if replay is None else replay.edited
                inputs.append(Input(plan.record.value or b"", headers, spliced, part, edited))
        for plan, outcome in zip(mine, await pipeline.start(inputs, scope), strict=True):
            plan.started[pipeline.name] = outcome


async def finish(
    plan: Plan, routed: Routed, scope: Scope, run_plain: RunPlain, checked: Checked
) -> list[tuple[Pipeline, Result]]:
    """Return what each pipeline makes of a record that was started.

    Raises:
        Blocked: a pipeline waits for something. The record has changed no state.
    """
    for outcome in plan.started.values():
        if isinstance(outcome, Blocked):
            raise outcome
    results: list[tuple[Pipeline, Result]] = []
    try:
        for pipeline in plan.pipelines:
            if pipeline.waits:
                result = await _finish_one(pipeline, plan.started[pipeline.name], routed, scope, checked)
            else:
                result = run_plain(pipeline, plan.record, routed)
            results.append((pipeline, result))
    except Blocked:
        _settle(results, scope, keep=False)
        raise
    _settle(results, scope, keep=True)
    return results


def finish_stateless(
    plan: Plan, routed: Routed, run_plain: RunPlain, checked: Checked
) -> list[tuple[Pipeline, Result]]:
    """Return what each pipeline makes of a record that was started, where none of them keeps state.

    Raises:
        Blocked: a pipeline waits for something.
    """
    results: list[tuple[Pipeline, Result]] = []
    for pipeline in plan.pipelines:
        if pipeline.waits:
            made = pipeline.finish_stateless(plan.started[pipeline.name], routed[1], routed[4])
            if isinstance(made, Blocked):
                raise made
            results.append((pipeline, checked(made)))
        else:
            results.append((pipeline, run_plain(pipeline, plan.record, routed)))
    return results


async def run_due(
    pipelines: Iterable[Pipeline], scope: Scope, gate: Gate | None, checked: Checked
) -> AsyncIterator[tuple[Pipeline, list[MadeDue]]]:
    """Yield the results of each pipeline that the time has made due; of a paused one, none.

    One that is rejected is the result alone: its window stays closed.

    Raises:
        Blocked: a step waits for something, once all pipelines had their turn: none waits for another one. The state of
            its pipeline has not changed.
    """
    held: Blocked | None = None
    for pipeline in pipelines:
        paused = gate is not None and gate.is_paused(pipeline.name)
        if scope.state is None or paused or not pipeline.timed or not pipeline.may_be_due(scope.state):
            continue
        try:
            made = await _run_due(pipeline, scope, scope.state, checked)
        except Blocked as exc:
            held = held or exc
        else:
            yield pipeline, made
    if held is not None:
        raise held


async def _run_due(pipeline: Pipeline, scope: Scope, state: RunningState, checked: Checked) -> list[MadeDue]:
    state.begin(pipeline.name)
    made: list[MadeDue] = []
    async for due, value, result in pipeline.due(scope):
        if isinstance(result, Blocked):
            state.undo(pipeline.name)
            raise result
        made.append((due, value, checked(result)))
    state.keep(pipeline.name)
    return made


async def _finish_one(pipeline: Pipeline, outcome: Outcome, routed: Routed, scope: Scope, checked: Checked) -> Result:
    state = scope.state if pipeline.stateful else None
    if state is not None:
        state.begin(pipeline.name)
    made = await pipeline.finish(outcome, routed[1], scope, routed[4])
    result = made if isinstance(made, Blocked) else checked(made)
    if state is not None and not isinstance(result, list):
        # A record that is rejected leaves no state: otherwise its replay would find its own trace.
        state.undo(pipeline.name)
    if isinstance(result, Blocked):
        raise result
    return result


def _settle(results: Iterable[tuple[Pipeline, Result]], scope: Scope, *, keep: bool) -> None:
    """Keep or undo what the pipelines changed that let the record pass."""
    if scope.state is None:
        return
    for pipeline, result in results:
        if pipeline.stateful and isinstance(result, list):
            (scope.state.keep if keep else scope.state.undo)(pipeline.name)
