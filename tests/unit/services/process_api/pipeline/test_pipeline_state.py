"""A pipeline whose steps keep state: what the time makes of it."""

import json

from services.process_api.pipeline.pipeline import Input
from tests.unit.services.process_api.making import event, pipeline
from tests.unit.services.process_api.pipeline.steps.waiting import scope, state_of


async def test_what_was_held_passes_through_the_steps_behind() -> None:
    made = pipeline({"latest": {"every": 100}}, {"set": {"data.seen": True}})
    now = [1000]
    state = state_of(made, now=lambda: now[0])
    used = scope(state)
    for number in (1, 2):
        state.at_record(b"C-1", now[0], b"orders 1 id")
        [outcome] = await made.start([Input(event({"n": number}))], used)
        await made.finish(outcome, (), used)
        state.keep("orders")
    assert made.next_due(state) == 1100
    now[0] = 1100
    state.at_no_record()
    [(due, value, outputs)] = [each async for each in made.due(used)]
    assert isinstance(outputs, list)
    assert json.loads(outputs[0].value or b"")["data"] == {"n": 2, "seen": True}
    assert json.loads(value)["data"] == {"n": 2}
    assert outputs[0].headers == due.headers


async def test_a_pipeline_without_state_has_nothing_due() -> None:
    assert not pipeline({"filter": "a"}).timed
    assert pipeline({"dedupe": {"within": 1}}).timed
