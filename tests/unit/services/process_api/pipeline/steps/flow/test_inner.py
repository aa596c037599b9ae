"""Lists of steps inside a step."""

import pytest
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.flow.inner import InnerSteps, build_list
from services.process_api.pipeline.steps.outcome import Rejected
from services.process_api.pipeline.steps.step import StepOptions
from services.process_api.settings import ProcessSettings
from shared.settings import json_schema
from tests.unit.services.process_api.making import draft, step_options


def test_they_are_read_by_the_registry_and_an_error_has_its_place() -> None:
    with pytest.raises(ValidationError) as caught:
        step_options({"branch": {"cases": [{"when": "a", "steps": [{"filtr": "b"}]}]}})
    assert "did you mean 'filter'" in str(caught.value)
    (error,) = caught.value.errors()
    assert error["loc"][-4:] == ("cases", 0, "steps", 0)
    adapter: TypeAdapter[list[StepOptions]] = TypeAdapter(InnerSteps)
    assert [step.kind for step in adapter.validate_python([{"filter": "a"}])] == ["filter"]


def test_the_place_of_an_inner_step_is_below_that_of_the_outer_one() -> None:
    made = build_list(StepContext(place="steps.3.branch"), "otherwise", [step_options({"map": "missing"})])
    with pytest.raises(Rejected, match=r"^steps\.3\.branch\.otherwise\.0\.map: "):
        made.apply(draft({}))


def test_the_schema_for_editors_knows_them() -> None:
    assert "BranchOptions" in json_schema(ProcessSettings)["$defs"]
