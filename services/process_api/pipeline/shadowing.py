"""The settings of a shadow: another version of a pipeline that runs beside it. Sans-I/O."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from services.process_api.pipeline.steps.call.call import CallOptions
from services.process_api.pipeline.steps.registry import AnyStep
from services.process_api.pipeline.steps.step import ChannelName, StepOptions
from shared.settings import Options


def without_effects(steps: list[StepOptions]) -> list[StepOptions]:
    """Return the steps of a shadow.

    Raises:
        ValueError: one keeps state, or sends a request that may change something.
    """
    for number, step in enumerate(steps):
        for inner in step.all_steps():
            if inner.stateful or inner.divides:
                raise ValueError(f"{number}.{step.kind}: {_refused(inner)}")
            if isinstance(inner, CallOptions) and inner.call.method != "GET":
                raise ValueError(
                    f"{number}.{step.kind}: a shadow sends no {inner.call.method}: the API would get it twice;"
                    " expected GET, or a `set` step with a typical answer in the place of the call"
                )
    return steps


def check_pipeline(steps: Sequence[StepOptions]) -> None:
    """Check the steps of a pipeline that has a shadow.

    Raises:
        ValueError: one keeps state, or divides the pipeline.
    """
    for step in steps:
        if step.stateful or step.divides:
            raise ValueError(f"shadow: {_refused(step)}")


def _refused(step: StepOptions) -> str:
    if step.divides:
        return (
            f"{step.kind} divides the pipeline, and a shadow compares what one event becomes at once; expected no such"
            " step in the pipeline or its shadow (`trelay preview` runs one on the newest events)"
        )
    return (
        f"{step.kind} keeps state, which a shadow cannot share; expected no such step in the pipeline or its shadow"
        " (`trelay preview` runs one on the newest events)"
    )


class ShadowOptions(Options):
    """Another version of a pipeline. It gets the same events; its results are compared, and not published."""

    channel: ChannelName | None = None
    """The channel of its events, unless a `route` step sets another; by default that of the pipeline."""

    steps: Annotated[list[AnyStep], AfterValidator(without_effects)] = Field(default_factory=list)
    """The steps of the new version, in order. Look-ups ask the other systems once more. Steps that keep state, and
    calls other than GET, are refused."""

    timeout: float = Field(default=5.0, gt=0, le=60)
    """Seconds that one event may take. After that, the process of the shadow is replaced."""

    keep: int = Field(default=100, ge=1, le=1000)
    """Differences that each replica keeps, the newest."""
