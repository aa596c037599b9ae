"""Pipelines with steps that wait: started on a batch, finished event by event."""

import json
from typing import Any

from services.process_api.pipeline.pipeline import Input, Pipeline
from services.process_api.pipeline.steps.outcome import Blocked, Rejected
from tests.unit.services.process_api.making import event, pipeline, without_data
from tests.unit.services.process_api.pipeline.steps.waiting import (
    LookUp,
    StatefulLookUp,
    batches,
    scope,
    waiting_pipeline,
)


async def run(made: Pipeline, *entities: Any) -> list[Any]:
    """Run a batch of events; return the entities that each becomes, or the failure."""
    inputs = [Input(event(entity) if not isinstance(entity, bytes) else entity, (("a", b"b"),)) for entity in entities]
    found: list[Any] = []
    for outcome in await made.start(inputs, scope()):
        result = await made.finish(outcome, (("a", b"b"),), scope())
        if isinstance(result, Rejected | Blocked):
            found.append(result)
        else:
            assert all(output.headers == (("a", b"b"),) for output in result)
            found.append([json.loads(output.value or b"")["data"] for output in result])
    return found


def test_only_a_pipeline_with_a_step_that_waits_waits() -> None:
    assert not pipeline({"filter": "a"}).waits
    assert waiting_pipeline(LookUp()).waits
    assert not waiting_pipeline(LookUp()).stateful
    assert waiting_pipeline(StatefulLookUp()).waits
    assert waiting_pipeline(StatefulLookUp()).stateful


async def test_events_become_what_a_plain_pipeline_would_make_of_them() -> None:
    made = waiting_pipeline({"filter": "n > 0"}, LookUp(), {"map": "found ? $ : missing"})
    assert await run(made, {"n": 1}, {"n": 0}) == [[{"n": 1, "found": True}], []]


async def test_failures_name_the_step_and_the_pipeline() -> None:
    made = waiting_pipeline(LookUp(), {"map": "n"}, channel=None)
    broken, malformed, away, unmapped, lost = await run(
        made, b"{", {"look": "malformed"}, {"look": "away"}, {}, {"n": 1}
    )
    assert str(broken).startswith("event: not a JSON object")
    assert str(malformed) == "steps.0.look_up: garbage"
    assert str(unmapped).startswith("steps.1.map: the expression is undefined")
    assert str(lost).startswith("channel: the event has no channel")
    assert isinstance(away, Blocked)
    assert (away.pipeline, away.place, str(away)) == ("orders", "steps.0.look_up", "no answer")


async def test_from_the_first_step_with_state_on_one_event_runs_after_the_other() -> None:
    made = waiting_pipeline(LookUp(), StatefulLookUp(), LookUp(name="again"))
    head, stateful, behind = batches[-3:]
    assert await run(made, {}, {}, {}) == [[{"found": True, "again": True}]] * 3
    assert (head, stateful, behind) == ([3], [1, 1, 1], [1, 1, 1])


async def test_closing_calls_what_the_steps_left() -> None:
    closed: list[int] = []
    made = waiting_pipeline(LookUp())

    async def note() -> None:
        closed.append(1)

    made._context.closing.push_async_callback(note)
    await made.close()
    await made.close()
    assert closed == [1]


async def test_content_other_than_json_passes_untouched() -> None:
    steps: list[Any] = [
        {"filter": "$event.type = 'order.updated'"},
        {"branch": {"cases": [{"when": "a", "steps": [{"drop": "data.a"}]}]}},
        {"foreach": {"items": "data.l", "steps": [{"map": "$"}]}},
        {"convert": {"data.n": "number"}},
        {"mask": {"redact": ["subject"]}},  # where it is to hide some of the content, it lets none pass: `test_mask`
        {"emit": ["a.b"]},
    ]
    made = pipeline(*steps)
    content = without_data(datacontenttype="image/png", data_base64="iVBORw0KGgo=")
    (output,) = made.run(content)
    found = json.loads(output.value or b"")
    assert (found["data_base64"], found["datacontenttype"]) == ("iVBORw0KGgo=", "image/png")
    assert (found["subject"], "data" in found) == ("***", False)
