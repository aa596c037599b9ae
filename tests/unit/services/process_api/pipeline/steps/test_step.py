"""The types that the settings of steps are written with."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import pytest
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.filter import FilterOptions
from services.process_api.pipeline.steps.step import ChannelName, PathText, Step, StepOptions


@pytest.mark.parametrize(
    ("kind", "valid", "invalid", "reason"),
    [
        (PathText, "data.a", "data.", "is not a path"),
        (ChannelName, "orders.eu", "orders/eu", "expected dotted words"),
    ],
)
def test_malformed_values_are_refused_when_settings_are_read(kind: Any, valid: str, invalid: str, reason: str) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    assert adapter.validate_python(valid) == valid
    with pytest.raises(ValidationError, match=reason):
        adapter.validate_python(invalid)


class Holding(StepOptions):
    """A step with steps inside."""

    kind: ClassVar = "holding"
    steps: list[FilterOptions | Self]

    def inner(self) -> Mapping[str, Sequence[StepOptions]]:
        return {"steps": self.steps}

    def build(self, context: StepContext) -> Step:
        raise NotImplementedError


def test_all_steps_are_those_inside_at_any_depth_as_well() -> None:
    one, two = FilterOptions(filter="a"), FilterOptions(filter="b")
    inner = Holding(steps=[two])
    assert list(Holding(steps=[one, inner]).all_steps())[1:] == [one, inner, two]
