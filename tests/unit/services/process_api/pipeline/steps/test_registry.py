"""How steps are written."""

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from services.process_api.pipeline.steps import registry
from services.process_api.pipeline.steps.filter import FilterOptions
from services.process_api.pipeline.steps.registry import StepOptions, build_step, expressions_of

WRITTEN: list[Any] = [
    {"filter": "amount > 100"},
    {"map": "{'a': b}"},
    {"set": {"data.region": "eu", "data.total": "=price"}},
    {"drop": "data.card"},
    {"rename": {"data.a": "data.b"}},
    {"route": "'orders.' & region"},
    {"validate": {"type": "object"}},
    {"python": "copy:copy"},
]
adapter: TypeAdapter[Any] = TypeAdapter(StepOptions)


@pytest.mark.parametrize("written", WRITTEN)
def test_every_kind_can_be_written_in_one_line_and_built(written: Any) -> None:
    options = adapter.validate_python(written)
    assert registry.kind_of(options) == registry.kind_of(written)
    assert callable(build_step(options).apply)


def test_there_is_an_example_of_every_kind() -> None:
    assert {type(adapter.validate_python(written)) for written in WRITTEN} == set(get_args(registry.AnyOptions))


def test_options_are_taken_as_they_are() -> None:
    options = FilterOptions(filter="a")
    assert adapter.validate_python(options) is options


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"filtr": "a"}, "unknown key 'filtr'; did you mean 'filter'"),
        ({"filter": "a", "map": "b"}, "expected one step"),
        ({}, "expected one step"),
        ("filter", "expected one step"),
        ({5: "a"}, "unknown key '5'"),
        ({"filter": "a +"}, "does not compile"),
        ({"filter": 5}, "valid string"),
    ],
)
def test_what_is_no_step_says_so(written: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        adapter.validate_python(written)


@pytest.mark.parametrize(
    ("written", "expressions"),
    [
        ({"filter": "a"}, ["a"]),
        ({"map": "b"}, ["b"]),
        ({"set": {"data.x": "=c", "data.y": 1}}, ["c"]),
        ({"route": "d"}, ["d"]),
        ({"route": {"by": "e", "table": {"a": "b"}}}, ["e"]),
        ({"drop": "data.x"}, []),
        ({"python": "copy:copy"}, []),
    ],
)
def test_their_expressions_can_be_tried(written: Any, expressions: list[str]) -> None:
    assert expressions_of(adapter.validate_python(written)) == expressions
