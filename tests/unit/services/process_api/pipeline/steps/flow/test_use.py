"""`use`; test_reuse.py has the lists."""

from services.process_api.pipeline.steps.flow.use import WaitingUse
from services.process_api.pipeline.steps.step_list import StepList
from tests.unit.services.process_api.making import applied, event, step_options
from tests.unit.services.process_api.pipeline.steps.test_step_list import shown
from tests.unit.services.process_api.pipeline.steps.waiting import LookUpStep, drafts, scope


def test_it_runs_the_steps_of_its_list() -> None:
    step = {"use": {"list": "a", "steps": [{"set": {"data.x": 1}}, {"drop": "data.y"}]}}
    assert applied(step, event({"y": 2}))["data"] == {"x": 1}
    assert [each.kind for each in step_options(step).all_steps()] == ["use", "set", "drop"]


async def test_steps_that_wait_get_the_batch() -> None:
    look_up = LookUpStep("found")
    outcomes = await WaitingUse(StepList([("a", look_up)])).apply_batch(drafts({}, {}), scope())
    assert list(map(shown, outcomes)) == [[{"found": True}]] * 2
    assert look_up.batches == [2]
