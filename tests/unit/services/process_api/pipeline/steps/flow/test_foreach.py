"""`foreach`."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.paths import parse
from services.process_api.pipeline.steps.flow.foreach import ForeachOptions, WaitingForeach
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from services.process_api.pipeline.steps.step_list import StepList
from tests.unit.services.process_api.making import applied, event, pipeline
from tests.unit.services.process_api.pipeline.steps.test_step_list import plain, shown
from tests.unit.services.process_api.pipeline.steps.waiting import LookUpStep, drafts, scope


@pytest.mark.parametrize(
    ("steps", "data", "expected"),
    [
        ([{"set": {"data.x": "=n * 2"}}], {"l": [{"n": 1}, {"n": 2}]}, {"l": [{"n": 1, "x": 2}, {"n": 2, "x": 4}]}),
        ([{"filter": "n > 1"}], {"l": [{"n": 1}, {"n": 2}]}, {"l": [{"n": 2}]}),
        ([{"filter": "false"}], {"l": [1]}, {"l": []}),
        ([{"split": "$"}], {"l": [[1, 2], [3]]}, {"l": [1, 2, 3]}),
        ([{"map": "$event.id"}], {"l": [1, 2]}, {"l": ["orders:7/1", "orders:7/2"]}),
        ([{"map": "n"}], {"l": []}, {"l": []}),
        ([{"map": "n"}], {"l": None}, {"l": None}),
        ([{"map": "n"}], {}, {}),
    ],
)
def test_the_results_replace_the_items(steps: Any, data: Any, expected: Any) -> None:
    assert applied({"foreach": {"items": "data.l", "steps": steps}}, event(data))["data"] == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"l": 5}, r"^steps\.0\.foreach: data\.l: found 5; expected an array"),
        ({"l": [{}]}, r"^steps\.0\.foreach\.steps\.0\.map: the expression is undefined"),
    ],
)
def test_what_cannot_be_run_rejects_the_event(data: Any, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        pipeline({"foreach": {"items": "data.l", "steps": [{"map": "n"}]}}).run(event(data))


@pytest.mark.parametrize("items", ["subject", "type", "`zone`"])
def test_an_attribute_holds_no_items(items: str) -> None:
    with pytest.raises(ValidationError, match=r"is an attribute, which holds no array; expected .* 'data\.lines'"):
        ForeachOptions.model_validate({"foreach": {"items": items, "steps": [{"map": "n"}]}})
    pattern = ForeachOptions.model_json_schema()["$defs"]["ForeachSettings"]["properties"]["items"]["pattern"]
    assert not re.fullmatch(pattern, items)
    assert all(re.fullmatch(pattern, path) for path in ("data", "data.lines", "`data`.`first lines`.a"))


async def test_one_query_serves_the_items_of_all_events() -> None:
    look_up = LookUpStep("found")
    step = WaitingForeach(parse("data.l"), StepList([("a", look_up), *plain({"drop": "data.look"})]))
    entities: list[Any] = [
        {"l": [{"n": 1}, {"n": 2}]},
        {"l": [{"n": 1}, {"look": "malformed"}]},
        {"l": [{"look": "away"}]},
        {"l": 5},
        {},
    ]
    outcomes = await step.apply_batch(drafts(*entities), scope())
    assert shown(outcomes[0]) == [{"l": [{"n": 1, "found": True}, {"n": 2, "found": True}]}]
    assert str(outcomes[1]) == "a: garbage"
    assert isinstance(outcomes[2], Blocked)
    assert str(outcomes[3]) == "data.l: found 5; expected an array"
    assert shown(outcomes[4]) == [{}]
    assert look_up.batches == [5]
