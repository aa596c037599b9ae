"""Lists of steps: plain ones event by event, those that wait on the batch."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from services.process_api.pipeline.steps.step_list import StepList
from shared.errors import Unavailable
from tests.unit.services.process_api.making import draft, step_options
from tests.unit.services.process_api.pipeline.steps.waiting import CountedTurns, LookUpStep, drafts, scope

FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"
MARK = {"set": {"data.marked": True}}
POSITIVE = {"filter": "$exists(n) ? n > 0 : true"}


def plain(*steps: Any) -> list[tuple[str, Any]]:
    return [(f"steps.{number}", step_options(step).build(StepContext())) for number, step in enumerate(steps)]


def shown(outcome: Any) -> Any:
    """What an outcome holds: entities, or the failure."""
    if isinstance(outcome, Rejected | Blocked):
        return str(outcome)
    return [json.loads(made.data_text() or b"") for made in outcome]


def test_a_plain_list_runs_event_by_event() -> None:
    made = StepList(plain(POSITIVE, MARK))
    assert not made.waits
    assert shown(made.apply(draft({"n": 1}))) == [{"n": 1, "marked": True}]
    assert made.apply(draft({"n": 0})) == []
    assert shown(StepList([]).apply(draft({"n": 1}))) == [{"n": 1}]


def test_a_plain_list_raises_with_the_place_of_the_step() -> None:
    with pytest.raises(Rejected, match=r"^steps\.1: the expression is undefined"):
        StepList(plain(MARK, {"map": "missing"})).apply(draft({}))
    with pytest.raises(Unavailable) as caught:
        StepList(plain({"python": f"{FUNCTIONS}:wait"})).apply(draft({}))
    assert isinstance(caught.value, Blocked)
    assert caught.value.place == "steps.0"


async def test_a_step_that_waits_gets_all_events_of_the_batch_at_once() -> None:
    step = LookUpStep("found")
    made = StepList([*plain(POSITIVE), ("steps.1.look_up", step), *plain(MARK)])
    assert made.waits
    given_scope = scope()
    outcomes = await made.apply_batch(drafts({"n": 1}, {"n": 0}, {"n": 2}), given_scope)
    assert list(map(shown, outcomes)) == [
        [{"n": 1, "found": True, "marked": True}],
        [],
        [{"n": 2, "found": True, "marked": True}],
    ]
    assert step.batches == [2]
    assert isinstance(given_scope.turns, CountedTurns)
    assert (given_scope.turns.breaths, given_scope.turns.waits) == (5, 1)


async def test_a_timer_times_waiting_steps_on_the_batch_and_the_others_on_the_first_event() -> None:
    timed: list[str] = []
    made = StepList([*plain(MARK), ("steps.1.look_up", LookUpStep("found")), ("steps.2", plain(MARK)[0][1])])
    outcomes = await made.resume([(each,) for each in drafts({"n": 1}, {"n": 2})], scope(), lambda: timed.append)
    assert timed == ["steps.0", "steps.1.look_up", "steps.2"]
    assert len(outcomes) == 2


async def test_a_failure_concerns_its_event_alone() -> None:
    step = LookUpStep("found")
    made = StepList([("a", step), *plain(MARK), ("b", LookUpStep("again"))])
    looks = ["malformed", "away", "none", "several", None]
    outcomes = await made.apply_batch(drafts(*({"look": look} for look in looks)), scope())
    assert list(map(shown, outcomes)) == [
        "a: garbage",
        "no answer",
        [],
        [{"n": 1, "marked": True, "again": True}, {"n": 2, "marked": True, "again": True}],
        [{"look": None, "found": True, "marked": True, "again": True}],
    ]
    assert isinstance(outcomes[1], Blocked)
    assert outcomes[1].place == "a"


@pytest.mark.parametrize("look", ["bug", "short"])
async def test_an_error_of_a_whole_batch_is_found_out_event_by_event(look: str) -> None:
    step = LookUpStep("found")
    outcomes = await StepList([("a", step)]).apply_batch(drafts({}, {"look": look}, {}), scope())
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [False, True, False]
    assert shown(outcomes[1]).startswith("a: ZeroDivisionError" if look == "bug" else "a: ValueError")
    assert step.batches == [3, 1, 1, 1]


async def test_nothing_is_asked_for_no_event() -> None:
    step = LookUpStep("found")
    outcomes = await StepList([*plain({"filter": "false"}), ("a", step)]).apply_batch(drafts({}), scope())
    assert list(map(shown, outcomes)) == [[]]
    assert step.batches == []


LOOKS = st.sampled_from(["malformed", "away", "none", "several", "bug", None])


@given(st.lists(LOOKS, max_size=6))
async def test_a_batch_gives_each_event_what_it_gets_alone(looks: Sequence[str | None]) -> None:
    def made() -> StepList:
        return StepList([("a", LookUpStep("found")), *plain(MARK)])

    def events() -> list[Draft]:
        return drafts(*({"look": look} for look in looks))

    together = await made().apply_batch(events(), scope())
    alone = [(await made().apply_batch([event], scope()))[0] for event in events()]
    assert list(map(shown, together)) == list(map(shown, alone))
