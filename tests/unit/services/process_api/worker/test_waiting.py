"""Batches whose pipelines wait."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.outcome import Blocked
from services.process_api.worker.batch import Batch
from services.process_api.worker.outputs import Tally
from services.process_api.worker.poison import PoisonTracker
from tests.unit.services.process_api.making import batch, event, pipeline, record
from tests.unit.services.process_api.pipeline.steps.waiting import (
    LookUp,
    RecordedState,
    StatefulLookUp,
    batches,
    scope,
    waiting_pipeline,
)

FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"


def entities(made: Batch) -> list[Any]:
    return [json.loads(output.value or b"")["data"] for output in made.outputs]


async def test_plain_pipelines_run_beside_those_that_wait_and_the_order_is_kept() -> None:
    made = batch(waiting_pipeline(LookUp(), name="a"), pipeline({"set": {"data.b": True}}, name="b"))
    assert made.waits
    await made.add_waiting([record(event({"n": n}), n) for n in range(2)], scope())
    assert entities(made) == [
        {"n": 0, "found": True},
        {"n": 0, "b": True},
        {"n": 1, "found": True},
        {"n": 1, "b": True},
    ]
    assert batches[-1] == [2]
    assert (made.first, made.last, made.count) == (0, 1, 2)
    assert made.tallies == {"a": Tally(2, 2, 0), "b": Tally(2, 2, 0)}


async def test_what_is_not_run_goes_to_the_dead_letter() -> None:
    made = batch(waiting_pipeline(LookUp()))
    await made.add_waiting(
        [record(b"no event", 0, source=None), record(event({"look": "malformed"}), 1), record(event({}), 2)], scope()
    )
    assert [reject.error.partition(":")[0] for reject in made.rejects] == ["event", "steps.0.look_up"]
    assert made.unclaimed == 1
    assert len(made.outputs) == 1


async def test_a_source_that_no_pipeline_takes_is_dead_lettered() -> None:
    made = Batch(Selection([(["other"], waiting_pipeline(LookUp()))]), PoisonTracker())
    await made.add_waiting([record(event({}))], scope())
    assert [reject.error for reject in made.rejects] == ["no pipeline takes the source 'orders'"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("plain", [True, False])
async def test_records_before_one_that_has_to_wait_are_added(*, first: bool, plain: bool) -> None:
    wait = {"python": f"{FUNCTIONS}:wait"}
    away = pipeline({"filter": "look = 'away'"}, wait, name="b") if plain else waiting_pipeline(LookUp(), name="b")
    present = waiting_pipeline({"set": {"data.look": None}}, LookUp(), name="a")
    pipelines = [away, present] if first else [present, away]
    made = batch(*pipelines)
    with pytest.raises(Blocked) as caught:
        await made.add_waiting(
            [record(event({}), 0), record(event({"look": "away"}), 1), record(event({}), 2)], scope()
        )
    assert caught.value.pipeline == "b"
    assert (made.count, made.last) == (1, 0)
    assert made.tallies["a"] == Tally(1, 1, 0)


async def test_state_is_kept_for_a_record_that_passes_and_undone_for_others() -> None:
    stateful, other = waiting_pipeline(StatefulLookUp(), name="a"), waiting_pipeline(StatefulLookUp(), name="b")
    made, state = batch(stateful, other), RecordedState()
    await made.add_waiting([record(event({}), 0), record(event({"look": "malformed"}), 1)], scope(state))
    assert state.told == [
        ("begin", "a"), ("begin", "b"), ("keep", "a"), ("keep", "b"),
        ("begin", "a"), ("undo", "a"), ("begin", "b"), ("undo", "b"),
    ]  # fmt: skip


async def test_all_pipelines_undo_a_record_that_comes_again() -> None:
    made, state = (
        batch(
            waiting_pipeline(StatefulLookUp(), name="a"),
            waiting_pipeline(StatefulLookUp(), {"python": f"{FUNCTIONS}:wait"}, name="b"),
        ),
        RecordedState(),
    )
    with pytest.raises(Blocked):
        await made.add_waiting([record(event({}), 0)], scope(state))
    assert state.told == [("begin", "a"), ("begin", "b"), ("undo", "b"), ("undo", "a")]
    assert made.count == 0


async def test_pipelines_without_state_run_beside_one_with_state_up_to_the_first_that_waits() -> None:
    made = batch(waiting_pipeline(StatefulLookUp(), name="a"), waiting_pipeline(LookUp(), name="b"), pipeline(name="c"))
    state = RecordedState()
    with pytest.raises(Blocked):
        await made.add_waiting([record(event({}), 0), record(event({"look": "away"}), 1)], scope(state))
    assert [tally.published for tally in made.tallies.values()] == [1, 1, 1]
    assert state.told == [("begin", "a"), ("keep", "a")]


async def test_without_a_state_nothing_is_told() -> None:
    made = batch(waiting_pipeline(StatefulLookUp()))
    await made.add_waiting([record(event({}), 0)], scope())
    assert made.count == 1


@given(st.lists(st.sampled_from(["malformed", "several", "none", "away", None]), min_size=1, max_size=8))
async def test_records_are_added_up_to_the_first_that_waits(looks: list[str | None]) -> None:
    made = batch(waiting_pipeline(LookUp()))
    records = [record(event({"look": look, "i": i}), i) for i, look in enumerate(looks)]
    expected = looks.index("away") if "away" in looks else len(looks)
    try:
        await made.add_waiting(records, scope())
    except Blocked:
        assert "away" in looks
    assert made.count == expected
    assert len(made.rejects) == looks[:expected].count("malformed")
    assert len(made.outputs) == 2 * looks[:expected].count("several") + looks[:expected].count(None)
