"""`- use: {list: clean, with: {limit: 100}}`: runs a named list of steps, written once under `process.lists`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.flow.inner import InnerSteps, build_list
from services.process_api.pipeline.steps.outcome import Outcome
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.pipeline.steps.step import AnyStep, Example, StepOptions
from services.process_api.pipeline.steps.step_list import StepList
from shared.settings import Name, Options


class UseSettings(Options):
    """The list, and the values of its parameters."""

    model_config = ConfigDict(defer_build=True)

    list_: Name = Field(alias="list")
    """The name of a list under `process.lists`."""

    with_: dict[str, JsonValue] = Field(default_factory=dict, alias="with")
    """Values of its parameters, by name."""

    steps: InnerSteps = Field(default_factory=list)
    """Not to be written: the steps of the list, with the values in the place of the parameters."""

    @model_validator(mode="after")
    def _is_expanded(self) -> Self:
        if "steps" not in self.model_fields_set:
            raise ValueError(f"list: found no list {self.list_!r}; expected the name of one under process.lists")
        return self


class UseOptions(StepOptions):
    """Runs a named list of steps."""

    model_config = ConfigDict(defer_build=True)
    kind: ClassVar = "use"
    example: ClassVar = Example(
        "use: {list: large, with: {limit: 100}}",
        [
            ({"data": {"amount": 120, "card": "4111"}}, [{"data": {"amount": 120}}]),
            ({"data": {"amount": 80, "card": "4111"}}, []),
        ],
        lists={
            "large": {
                "parameters": {"limit": None},
                "steps": [{"filter": "amount > {{limit}}"}, {"drop": "data.card"}],
            }
        },
    )

    use: UseSettings
    """The list. `{{name}}` in a text of its steps stands for the parameter `name`; a text that is nothing else becomes
    the value itself. A parameter has the value of `with`, else its own, else it is an error. Lists may use others."""

    def inner(self) -> Mapping[str, Sequence[StepOptions]]:
        return {"steps": self.use.steps}

    def build(self, context: StepContext) -> AnyStep:
        steps = build_list(context, "steps", self.use.steps)
        return WaitingUse(steps) if steps.waits else Use(steps)


class Use:
    """None of the steps waits."""

    def __init__(self, steps: StepList) -> None:
        self._steps = steps

    def apply(self, draft: Draft) -> Sequence[Draft]:
        return self._steps.apply(draft)


class WaitingUse:
    """One of the steps waits."""

    def __init__(self, steps: StepList) -> None:
        self._steps = steps

    async def apply_batch(self, drafts: Sequence[Draft], scope: Scope) -> Sequence[Outcome]:
        return await self._steps.apply_batch(drafts, scope)
