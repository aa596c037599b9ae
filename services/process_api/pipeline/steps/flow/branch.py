"""`- branch: {cases: [{when: amount > 100, steps: […]}], otherwise: […]}`: other steps for other events."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.flow.inner import InnerSteps, build_list
from services.process_api.pipeline.steps.outcome import Outcome
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import AnyStep, Example, StepOptions
from services.process_api.pipeline.steps.step_list import StepList
from shared.errors import Malformed
from shared.expression.expression import Condition
from shared.expression.settings import ExpressionText
from shared.settings import Options


class BranchCase(Options):
    """Steps for the events that satisfy a condition."""

    model_config = ConfigDict(defer_build=True)

    when: ExpressionText
    """The condition, as in `filter`."""

    steps: InnerSteps
    """The steps of the events that satisfy it and no condition before."""


class BranchSettings(Options):
    """The cases, in order."""

    model_config = ConfigDict(defer_build=True)

    cases: Annotated[list[BranchCase], Field(min_length=1)]
    """The first case whose condition is satisfied runs its steps on the event."""

    otherwise: InnerSteps = Field(default_factory=list)
    """The steps of all other events; by default they pass unaltered."""


class BranchOptions(StepOptions):
    """Runs other steps for events that satisfy a condition."""

    model_config = ConfigDict(defer_build=True)
    kind: ClassVar = "branch"
    example: ClassVar = Example(
        "branch: {cases: [{when: amount > 100, steps: [{set: {data.tier: gold}}]}], otherwise: [{drop: data.note}]}",
        [
            ({"data": {"amount": 120, "note": "x"}}, [{"data": {"amount": 120, "note": "x", "tier": "gold"}}]),
            ({"data": {"amount": 80, "note": "x"}}, [{"data": {"amount": 80}}]),
        ],
    )

    branch: BranchSettings
    """The cases. A case can hold any steps, others that hold steps among them. The order of events is kept."""

    def expressions(self) -> list[str]:
        return [case.when for case in self.branch.cases]

    def inner(self) -> Mapping[str, Sequence[StepOptions]]:
        cases = {f"cases.{number}.steps": case.steps for number, case in enumerate(self.branch.cases)}
        return {**cases, "otherwise": self.branch.otherwise}

    def build(self, context: StepContext) -> AnyStep:
        conditions = [Condition(case.when) for case in self.branch.cases]
        lists = [build_list(context, place, steps) for place, steps in self.inner().items()]
        kind = WaitingBranch if any(each.waits for each in lists) else Branch
        return kind(conditions, lists)


class _Cases:
    """The conditions, and the lists of which the last one is for all other events."""

    def __init__(self, conditions: Sequence[Condition], lists: Sequence[StepList]) -> None:
        self._conditions = conditions
        self._lists = lists

    def _case(self, draft: Draft) -> int:
        found = (number for number, condition in enumerate(self._conditions) if condition.holds(draft))
        return next(found, len(self._conditions))


class Branch(_Cases):
    """None of the steps waits."""

    def apply(self, draft: Draft) -> Sequence[Draft]:
        return self._lists[self._case(draft)].apply(draft)


class WaitingBranch(_Cases):
    """One of the steps waits."""

    async def apply_batch(self, drafts: Sequence[Draft], scope: Scope) -> Sequence[Outcome | Malformed]:
        outcomes: list[Outcome | Malformed] = [()] * len(drafts)
        chosen: dict[int, list[int]] = {}
        for number, draft in enumerate(drafts):
            try:
                chosen.setdefault(self._case(draft), []).append(number)
            except Malformed as exc:
                outcomes[number] = exc
            await scope.turns.breathe()
        for case, numbers in sorted(chosen.items()):
            made = await self._lists[case].apply_batch([drafts[number] for number in numbers], scope)
            for number, outcome in zip(numbers, made, strict=True):
                outcomes[number] = outcome
        return outcomes
