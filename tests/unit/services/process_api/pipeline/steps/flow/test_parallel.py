"""`parallel`."""

from typing import Any

import pytest

from services.process_api.pipeline.steps.flow.parallel import ParallelSettings, WaitingParallel
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from services.process_api.pipeline.steps.step_list import StepList
from tests.unit.services.process_api.making import applied, event, pipeline
from tests.unit.services.process_api.pipeline.steps.test_step_list import plain, shown
from tests.unit.services.process_api.pipeline.steps.waiting import LookUpStep, drafts, scope


def parallel(merge: str = "$", **lists: Any) -> Any:
    return {"parallel": {"lists": lists, "merge": merge, "into": "data.made"}}


def test_each_list_has_a_copy_of_its_own() -> None:
    made = applied(
        parallel(a=[{"set": {"data.x.y": 2}}], b=[{"filter": "false"}], c=[{"split": "l"}]),
        event({"x": {"y": 1}, "l": [1, 2]}),
    )
    assert made["data"] == {
        "x": {"y": 1},
        "l": [1, 2],
        "made": {
            "original": {"x": {"y": 1}, "l": [1, 2]},
            "a": {"x": {"y": 2}, "l": [1, 2]},
            "c": [1, 2],
        },
    }


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (parallel(a=[{"map": "missing"}]), r"^steps\.0\.parallel\.lists\.a\.0\.map: "),
        (parallel("nothing", a=[]), r"^steps\.0\.parallel: merge: the expression is undefined"),
    ],
)
def test_a_failure_rejects_the_event(step: Any, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        pipeline(step).run(event({}))


async def test_lists_that_wait_do_so_for_the_whole_batch() -> None:
    first, second = LookUpStep("a"), LookUpStep("b")
    lists = {"a": StepList([("a", first)]), "b": StepList([("b", second), *plain({"filter": "$exists(b)"})])}
    settings = ParallelSettings.model_validate({"lists": {"a": [], "b": []}, "merge": "m = 0 ? none : b.b"})
    step = WaitingParallel(settings, lists)
    outcomes = await step.apply_batch(drafts({}, {"look": "malformed"}, {"look": "away"}, {"m": 0}), scope())
    assert shown(outcomes[0]) == [True]
    assert isinstance(outcomes[1], Rejected)
    assert isinstance(outcomes[2], Blocked)
    assert shown(outcomes[3]) == [True]
    assert (first.batches, second.batches) == ([4], [4])
    broken = WaitingParallel(settings.model_copy(update={"merge": "none"}), lists)
    (failed,) = await broken.apply_batch(drafts({}), scope())
    assert str(failed) == "merge: the expression is undefined for this event"
