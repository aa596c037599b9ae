"""Named lists of steps in the place of each `use`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.steps.flow.reuse import Fault, expanded
from services.process_api.settings import ProcessOptions
from tests.unit.services.process_api.making import data_of, event

LISTS: dict[str, Any] = {
    "large": {"parameters": {"limit": 100, "path": None}, "steps": [
        {"filter": "amount > {{limit}}"},
        {"set": {"data.{{ path }}": "{{limit}}", "data.text": "up to {{limit}}", "data.other": "{{unknown}}"}},
    ]},
    "outer": {"steps": [
        {"branch": {"cases": [{"when": "true", "steps": [{"use": {"list": "large", "with": {"path": "x"}}}]}]}},
    ]},
    "endless": {"steps": [{"use": {"list": "again"}}]},
    "again": {"steps": [{"use": {"list": "endless"}}]},
}  # fmt: skip


def settings(*steps: Any) -> Any:
    return {"lists": LISTS, "pipelines": {"orders": {"sources": ["*"], "channel": "c", "steps": list(steps)}}}


def run(value: bytes, *steps: Any) -> list[Any]:
    (options,) = ProcessOptions.model_validate(settings(*steps)).pipelines.values()
    return [data_of(output.value or b"") for output in Pipeline("orders", options).run(value)]


def test_the_values_stand_in_the_place_of_the_parameters() -> None:
    use = {"use": {"list": "large", "with": {"path": "max", "limit": 5}}}
    assert run(event({"amount": 10}), use) == [{"amount": 10, "max": 5, "text": "up to 5", "other": "{{unknown}}"}]
    assert run(event({"amount": 1}), use) == []


def test_lists_may_use_others_and_parameters_have_values_of_their_own() -> None:
    assert run(event({"amount": 110}), {"use": {"list": "outer"}})[0]["x"] == 100


@pytest.mark.parametrize(
    ("use", "place", "text"),
    [
        ({"list": "large"}, ("use",), "the parameter 'path' has no value"),
        ({"list": "large", "with": {"path": "a", "max": 1}}, ("use", "with", "max"), "the list has limit, path"),
        ({"list": "outer", "with": {"a": 1}}, ("use", "with", "a"), "the list has none"),
        ({"list": "large", "steps": []}, ("use", "steps"), "expected those of the list alone"),
        ({"list": "endless"}, ("use", 0, "use", 0, "use", "list"), "uses itself: endless → again → endless"),
    ],
)
def test_a_fault_is_named_at_its_place(use: Any, place: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text) as caught:
        ProcessOptions.model_validate(settings({"use": use}))
    assert caught.value.errors()[0]["loc"] == ("pipelines", "orders", "steps", 0, *place)


def test_a_list_that_is_not_there_is_named() -> None:
    with pytest.raises(ValidationError, match="found no list 'nowhere'"):
        ProcessOptions.model_validate(settings({"use": {"list": "nowhere"}}))


@pytest.mark.parametrize(
    ("pipelines", "lists"),
    [
        (5, {}),
        ({"a": 5}, None),
        ({"a": [{"use": {"list": "x"}}]}, {"x": 5}),
        ({"a": [{"use": {"list": "x"}}]}, 5),
        ({"a": [{"use": 5}, {5: 6}]}, {}),
    ],
)
def test_what_is_malformed_stays_for_the_check_of_the_settings(pipelines: Any, lists: Any) -> None:
    assert expanded(pipelines, lists) == (pipelines, [])


def test_malformed_lists_are_expanded_to_nothing() -> None:
    lists = {"x": {"steps": 5, "parameters": 6}, "y": {"steps": [{5: "{{a}}"}]}}
    found, faults = expanded({"a": [{"use": {"list": "x"}}, {"use": {"list": "y"}}]}, lists)
    assert found == {"a": [{"use": {"list": "x", "steps": []}}, {"use": {"list": "y", "steps": [{5: "{{a}}"}]}}]}
    assert faults == []
    assert Fault(("a",), "b").text == "b"


ANY = st.recursive(
    st.none() | st.integers() | st.sampled_from(["use", "x", "{{a}}", "list"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["use", "list", "with", "steps"]), inner)
    ),
    max_leaves=8,
)


@given(ANY, ANY)
def test_nothing_makes_it_fail(pipelines: Any, lists: Any) -> None:
    expanded(pipelines, lists)
    expanded({"a": pipelines}, {"x": lists, "list": {"steps": lists}})
