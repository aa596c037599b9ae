"""Pipelines on given events, without a bus."""

import json
import random
from datetime import UTC, datetime

import pytest

from services.cli.pipelines.mocks import Mock, Mocks
from services.process_api.dry_run import DryRun, EventClock, Sample, entity_sample, event_sample
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked
from tests.unit.services.process_api.making import pipeline


async def test_an_entity_and_an_event_run_as_in_the_worker() -> None:
    run = DryRun(pipeline({"filter": "n > 1"}, {"set": {"data.m": "=n"}}, sources=["shop"]))
    (published,) = (await run.run(entity_sample(b'{"n":2}', 1))).events
    assert json.loads(published.value or b"")["data"] == {"n": 2, "m": 2}
    assert await run.run(entity_sample(b'{"n":1}', 2)) == ([], [])
    (published,) = (await run.run(event_sample({"data": {"n": 3}, "source": "/sources/other"}, 3))).events
    assert json.loads(published.value or b"")["source"] == "/sources/other"


async def test_what_is_no_event_is_a_dead_letter() -> None:
    events, (letter,) = await DryRun(pipeline()).run(Sample(b"{"))
    assert events == []
    assert letter.error.startswith("event: not a JSON object")
    _, (letter,) = await DryRun(pipeline()).run(event_sample({"subject": "\ud83d", "data": 1}, 1))
    assert letter.error.startswith("event: not UTF-8: ")


async def test_steps_that_keep_state_know_the_events_before() -> None:
    run = DryRun(pipeline({"aggregate": {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}}}}))
    made = []
    for number, minute in ((1, 0), (2, 0), (5, 1), (7, 2)):
        sample = event_sample({"data": {"n": number}, "subject": "C-1", "time": f"2026-01-01T10:0{minute}:00Z"}, number)
        made += (await run.run(sample)).events
    assert [json.loads(each.value or b"")["data"]["n"] for each in made] == [3, 5]
    _, (letter,) = await run.run(event_sample({"data": {"n": 1}, "subject": "C-1", "time": "soon"}, 9))
    assert "time" in letter.error


async def test_all_results_that_an_event_makes_due_come_with_it() -> None:
    """The worker makes some of them with the next events; here there may be none."""
    run = DryRun(pipeline({"aggregate": {"window": {"tumbling": 60}, "values": {"n": "count"}}}))
    for number in range(250):
        given = {"data": {}, "subject": f"C-{number}", "time": "2026-01-01T10:00:00Z"}
        assert await run.run(event_sample(given, number)) == ([], [])
    last = {"data": {}, "subject": "C-1", "time": "2026-01-01T10:05:00Z"}
    found = (await run.run(event_sample(last, 250))).events
    assert len({json.loads(each.value or b"")["subject"] for each in found}) == len(found) == 250


async def test_time_passes_without_an_event() -> None:
    clock = EventClock()
    run = DryRun(pipeline({"latest": {"every": 1000}}), clock)
    made = []
    for number in (1, 2):
        made += (await run.run(event_sample({"data": number, "subject": "C-1"}, number, clock.time()))).events
    assert (await run.tick()) == ([], [])
    await clock.sleep(2)
    made += (await run.tick()).events
    assert [json.loads(each.value or b"")["data"] for each in made] == [1, 2]
    assert (await DryRun(pipeline()).tick()) == ([], [])


async def test_the_clock_shows_the_time_of_the_newest_event() -> None:
    clock = EventClock()
    run = DryRun(pipeline(), clock)
    assert clock.now().isoformat() == "2026-01-01T00:00:00+00:00"
    await run.run(event_sample({"time": "2026-03-01T00:00:00Z"}, 1))
    await run.run(event_sample({"time": "2026-02-01T00:00:00Z"}, 2))
    assert clock.monotonic() == datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    await run.run(event_sample({}, 3)._replace(timestamp=1_900_000_000_000))
    assert clock.time() == 1_900_000_000
    assert json.loads(event_sample({}, 4, clock.time()).value)["time"] == "2030-03-17T17:46:40.000Z"


async def test_a_later_part_that_waits_goes_on_without_the_parts_before_it() -> None:
    answers = Mocks([Mock.model_validate({"step": "call", "answers": [{"status": 503}, {"value": 7}]})])
    clock = EventClock()
    made = pipeline(
        {"dedupe": {"by": "n", "within": 60}},
        {"repartition": "customer"},
        {"call": {"url": "https://api.invalid/", "into": "data.score", "retry": {"attempts": 1}}},
        context=StepContext(clock=clock, rng=random.Random(0), answers=answers),
    )
    run = DryRun(made, clock)
    with pytest.raises(Blocked, match="503"):
        await run.run(event_sample({"subject": "order-1", "data": {"n": 1, "customer": "C-1"}}, 1))
    clock.advance(5)
    (published,) = (await run.again()).events
    assert json.loads(published.value or b"")["data"] == {"n": 1, "customer": "C-1", "score": 7}
    again = event_sample({"subject": "order-1", "data": {"n": 1, "customer": "C-2"}}, 2)
    assert await run.run(again) == ([], []), "the state of the first part was kept"


async def test_what_the_time_makes_due_goes_through_the_later_parts() -> None:
    clock = EventClock()
    window = {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}}, "idle": 5}
    run = DryRun(pipeline({"aggregate": window}, {"repartition": "n"}, {"set": {"data.seen": True}}), clock)
    await run.run(event_sample({"data": {"n": 4}, "subject": "C-1"}, 1))
    clock.advance(120)
    (published,) = (await run.tick()).events
    shown = json.loads(published.value or b"")
    assert (shown["subject"], shown["data"]["n"], shown["data"]["seen"]) == ("4", 4, True)
