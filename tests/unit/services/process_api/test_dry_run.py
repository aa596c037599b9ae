"""Pipelines on given events, without a bus."""

import json

from services.process_api.dry_run import DryRun, Sample, entity_sample, event_sample
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
