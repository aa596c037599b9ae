"""Lists of steps inside a step: how they are written and built. Sans-I/O."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import StepOptions
from services.process_api.pipeline.steps.step_list import StepList


class _Steps:
    """Makes pydantic read the steps by the registry, which knows the steps that hold steps."""

    @staticmethod
    def __get_pydantic_core_schema__(_source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from services.process_api.pipeline.steps.registry import AnyStep  # noqa: PLC0415 -- it imports this module

        return handler.generate_schema(list[AnyStep])


InnerSteps = Annotated[list[StepOptions], _Steps]
"""The settings of a list of steps inside a step."""


def build_list(context: StepContext, place: str, steps: Sequence[StepOptions]) -> StepList:
    """Make the steps of a list; `place` is its place below the step that holds it.

    Raises:
        ValueError: as for `StepOptions.build`.
    """
    places = [f"{context.place}.{place}.{number}.{step.kind}" for number, step in enumerate(steps)]
    return StepList([(at, step.build(context.at(at))) for at, step in zip(places, steps, strict=True)])
