"""Which shadows a pipeline can have."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.check import faults
from services.process_api.pipeline.pipeline import PipelineOptions

DEDUPE = {"dedupe": {"by": "n", "within": 60}}
DIVIDE = {"repartition": "customer"}
POST = {"call": {"url": "https://api.example/"}}


def options(steps: list[Any], shadow: list[Any]) -> PipelineOptions:
    written = {"sources": ["*"], "channel": "orders", "steps": steps, "shadow": {"steps": shadow}}
    return PipelineOptions.model_validate(written)


@pytest.mark.parametrize(
    ("steps", "shadow", "error"),
    [
        ([], [DEDUPE], "dedupe keeps state, which a shadow cannot share"),
        ([DEDUPE], [], "shadow: dedupe keeps state"),
        ([], [DIVIDE], "repartition divides the pipeline, and a shadow compares what one event becomes at once"),
        ([DIVIDE], [], "shadow: repartition divides the pipeline"),
        ([], [POST], "a shadow sends no POST: the API would get it twice"),
        ([], [{"branch": {"cases": [{"when": "n", "steps": [POST]}]}}], "0.branch: a shadow sends no POST"),
    ],
    ids=[
        "state in the shadow",
        "state in the pipeline",
        "parts of the shadow",
        "parts",
        "call",
        "call inside a branch",
    ],
)
def test_a_shadow_with_effects_is_refused(steps: list[Any], shadow: list[Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        options(steps, shadow)


def test_other_steps_are_accepted() -> None:
    get = {"call": {"url": "https://api.example/", "method": "GET"}}
    found = options([POST], [get, {"filter": "n > 1"}])
    assert found.shadow is not None
    assert [step.kind for step in found.shadow.steps] == ["call", "filter"]


def test_the_expressions_of_a_shadow_are_tried() -> None:
    endless = options([], [{"map": "($f := function() { $f() }; $f())"}])
    (found,) = faults({"orders": endless, "plain": options([], [])})
    assert found.path == ("process", "pipelines", "orders", "shadow", "steps", 0)
