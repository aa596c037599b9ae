"""`branch`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.steps.flow.branch import WaitingBranch
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from services.process_api.pipeline.steps.step_list import StepList
from shared.expression.expression import Condition
from tests.unit.services.process_api.making import applied, apply, draft, event, pipeline, step_options
from tests.unit.services.process_api.pipeline.steps.test_step_list import plain, shown
from tests.unit.services.process_api.pipeline.steps.waiting import LookUpStep, drafts, scope

CASES: list[Any] = [
    {"when": "n > 10", "steps": [{"set": {"data.size": "large"}}]},
    {"when": "n > 5", "steps": [{"filter": "n != 7"}, {"set": {"data.size": "middle"}}]},
]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"n": 20}, {"n": 20, "size": "large"}),
        ({"n": 6}, {"n": 6, "size": "middle"}),
        ({"n": 1}, {"n": 1}),
    ],
)
def test_the_first_case_that_holds_runs(data: Any, expected: Any) -> None:
    assert applied({"branch": {"cases": CASES}}, event(data))["data"] == expected


def test_an_event_may_end_in_a_case_and_others_have_steps_of_their_own() -> None:
    step = {"branch": {"cases": CASES, "otherwise": [{"set": {"data.size": "small"}}]}}
    assert apply(step, draft({"n": 7})) == []
    assert applied(step, event({"n": 1}))["data"] == {"n": 1, "size": "small"}


def test_an_error_inside_names_the_whole_place() -> None:
    made = pipeline({"branch": {"cases": [{"when": "true", "steps": [{"filter": "true"}, {"map": "missing"}]}]}})
    with pytest.raises(Rejected, match=r"^steps\.0\.branch\.cases\.0\.steps\.1\.map: the expression is undefined"):
        made.run(event({}))


def test_it_knows_the_steps_inside_at_any_depth() -> None:
    inner = {"branch": {"cases": CASES}}
    options = step_options({"branch": {"cases": [{"when": "a", "steps": [inner]}], "otherwise": [{"map": "b"}]}})
    assert [step.kind for step in options.all_steps()] == ["branch", "branch", "set", "filter", "set", "map"]
    both = {"parallel": {"lists": {"a": [{"foreach": {"items": "data.l", "steps": [{"map": "b"}]}}]}, "merge": "a"}}
    assert [step.kind for step in step_options(both).all_steps()] == ["parallel", "foreach", "map"]


LOOKS = st.sampled_from(["malformed", "away", "none", "several", None])


@given(st.lists(st.tuples(st.integers(0, 20) | st.just("x"), LOOKS), max_size=6))
async def test_a_branch_that_waits_gives_each_event_what_it_gets_alone(events: list[tuple[Any, str | None]]) -> None:
    def made() -> WaitingBranch:
        lists = [StepList([("a", LookUpStep("a"))]), StepList(plain({"set": {"data.b": 1}})), StepList([])]
        return WaitingBranch([Condition("n > 10"), Condition("n > 5")], lists)

    entities = [{"n": n, "look": look} for n, look in events]
    together = await made().apply_batch(drafts(*entities), scope())
    alone = [(await made().apply_batch(drafts(entity), scope()))[0] for entity in entities]
    assert list(map(_shown, together)) == list(map(_shown, alone))
    for (n, look), outcome in zip(events, together, strict=True):
        if n == "x":
            assert not isinstance(outcome, Blocked)
            assert "T2010" in str(outcome) or "T2009" in str(outcome)
        elif n > 10 and look == "away":
            assert isinstance(outcome, Blocked)


def _shown(outcome: Any) -> Any:
    return str(outcome) if isinstance(outcome, Exception) else shown(outcome)
