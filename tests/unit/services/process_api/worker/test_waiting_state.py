"""Results that the time makes due, in batches."""

import json

import pytest

from services.process_api.pipeline.steps.outcome import Blocked
from shared.events.dead_letter import Content
from tests.unit.services.process_api.making import batch, event, record
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, scope, state_of, waiting_pipeline

WINDOW = {"aggregate": {"window": {"tumbling": 60}, "values": {"look": {"last": "look"}}}}


def at(minute: int, look: str) -> bytes:
    return event({"look": look}, time=f"2023-11-14T22:0{minute}:00Z", id=f"orders:{minute}")


async def test_a_result_passes_or_is_a_dead_letter_of_its_own() -> None:
    pipeline = waiting_pipeline(WINDOW, {"set": {"data.changed": True}}, LookUp())
    made, used = batch(pipeline), scope(state_of(pipeline))
    looks = ["yes", "malformed", "none", "end"]
    await made.add_waiting([record(at(minute, look), minute) for minute, look in enumerate(looks)], used)
    assert [json.loads(output.value or b"")["data"]["look"] for output in made.outputs] == ["yes"]
    [reject] = made.rejects
    assert reject.error == "steps.2.look_up: garbage"
    assert (reject.origin, reject.attempts, reject.pipeline) == ("trelay.ingest/0/2", 1, pipeline.label)
    assert (reject.content, reject.key) == (Content.RESULT, None)
    assert (reject.provenance or b"").split(b" ", 2)[2].decode() == reject.id
    value = json.loads(reject.value)
    assert (value["id"], value["data"]["look"]) == (reject.id, "malformed")
    assert "channel" not in value
    assert "changed" not in value["data"]
    assert (made.tallies["orders"].taken, made.tallies["orders"].published, made.tallies["orders"].rejected) == (
        4,
        1,
        1,
    )


async def test_a_result_that_waits_for_something_stays_due() -> None:
    pipeline = waiting_pipeline(WINDOW, LookUp())
    made, used = batch(pipeline), scope(state_of(pipeline))
    with pytest.raises(Blocked):
        await made.add_waiting([record(at(0, "first"), 0), record(at(1, "end"), 1)], used)
    assert (made.count, made.outputs) == (2, [])
    assert used.state is not None
    used.state.at_no_record()
    await made.add_due(used, 1)
    assert len(made.outputs) == 1


async def test_the_record_behind_a_result_that_waits_is_not_added() -> None:
    pipeline = waiting_pipeline(WINDOW, LookUp())
    made = batch(pipeline)
    records = [record(at(minute, "first"), minute) for minute in range(3)]
    with pytest.raises(Blocked):
        await made.add_waiting(records, scope(state_of(pipeline)))
    assert (made.count, made.last) == (2, 1)


async def test_a_result_that_waits_keeps_no_result_of_another_pipeline() -> None:
    pipelines = [waiting_pipeline(WINDOW, LookUp(), name="a"), waiting_pipeline(WINDOW, name="b")]
    made, used = batch(*pipelines), scope(state_of(*pipelines))
    with pytest.raises(Blocked) as waits:
        await made.add_waiting([record(at(0, "away"), 0), record(at(1, "end"), 1)], used)
    assert waits.value.pipeline == "a"
    assert [tally.published for tally in made.tallies.values()] == [0, 1]
    assert used.state is not None
    used.state.before_record(1_700_000_000_002)
    with pytest.raises(Blocked):
        await made.add_due(used, 1)
    assert [tally.published for tally in made.tallies.values()] == [0, 1]


async def test_nothing_is_due_without_state() -> None:
    made = batch(waiting_pipeline(LookUp()))
    await made.add_due(scope(), 0)
    assert made.outputs == []
