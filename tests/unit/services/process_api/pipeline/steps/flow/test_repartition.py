"""`repartition`: the step, and pipelines that it divides."""

import json
from typing import Any

import pytest

from services.process_api.dry_run import DryRun, EventClock, event_sample
from services.process_api.pipeline.part import Forwarded, Part
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.outcome import Rejected
from tests.unit.services.process_api.making import applied, event, pipeline

BY_CUSTOMER = {"repartition": "customer"}


@pytest.mark.parametrize(
    ("value", "subject"), [("C-1", "C-1"), (7, "7"), (7.0, "7"), (1.5, "1.5"), (True, "true"), ("é", "é")]
)
def test_the_value_is_the_new_subject(value: Any, subject: str) -> None:
    assert applied(BY_CUSTOMER, event({"customer": value}))["subject"] == subject


@pytest.mark.parametrize("value", [None, "", {}, [1]], ids=["null", "empty", "object", "array"])
def test_what_is_no_key_is_rejected(value: Any) -> None:
    with pytest.raises(Rejected, match=r"steps\.0\.repartition: customer is .*; expected text that is not empty"):
        pipeline(BY_CUSTOMER).run(event({"customer": value}))
    with pytest.raises(Rejected, match="customer is undefined"):
        pipeline(BY_CUSTOMER).run(event({}))


def forwarded(*steps: Any, of_pipeline: str | None = "c", **attributes: Any) -> Forwarded:
    (made,) = pipeline(*steps, BY_CUSTOMER, channel=of_pipeline).run(event({"customer": "C-9"}, **attributes))
    assert isinstance(made, Forwarded)
    return made


def test_an_event_goes_on_with_its_id_under_its_new_subject() -> None:
    made = forwarded()
    assert (made.key, made.part) == (b"C-9", Part("orders", 1))
    found = json.loads(made.value or b"")
    assert (found["id"], found["subject"], "channel" in found) == ("orders:7", "C-9", False)


def test_the_channel_that_a_step_has_set_is_kept() -> None:
    assert forwarded({"route": '"eu.x"'}).part.channel == "eu.x"
    assert forwarded(of_pipeline=None, channel="own").part.channel == "own"
    (published,) = pipeline(BY_CUSTOMER).run(event({}), part=Part("orders", 1, "eu.x"))
    assert published.key == b"eu.x"
    (published,) = pipeline(BY_CUSTOMER).run(event({}), part=Part("orders", 1))
    assert published.key == b"orders"


def test_it_stands_among_the_steps_of_the_pipeline_itself() -> None:
    steps = [{"branch": {"cases": [{"when": "a", "steps": [BY_CUSTOMER]}]}}]
    with pytest.raises(ValueError, match="holds the step repartition; expected repartition among the steps"):
        PipelineOptions.model_validate({"sources": ["*"], "steps": steps})


@pytest.mark.parametrize("place", ["steps", "shadow"])
def test_a_shadow_cannot_have_it(place: str) -> None:
    given: dict[str, Any] = {"sources": ["*"], "steps": [], "shadow": {"steps": []}}
    (given if place == "steps" else given["shadow"])["steps"] = [BY_CUSTOMER]
    with pytest.raises(ValueError, match="repartition divides the pipeline"):
        PipelineOptions.model_validate(given)


async def test_steps_behind_it_group_by_the_new_subject() -> None:
    aggregate = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": {"sum": "n"}}}}
    run = DryRun(pipeline({"filter": "n > 0"}, BY_CUSTOMER, aggregate))
    made = []
    for number, (customer, minute) in enumerate([("A", 0), ("B", 0), ("A", 0), ("A", 1), ("B", 1)], 1):
        time = f"2026-01-01T10:0{minute}:00Z"
        data = {"n": number, "customer": customer}
        made += (await run.run(event_sample({"data": data, "subject": f"order-{number}", "time": time}, number))).events
    found = [json.loads(each.value or b"") for each in made]
    assert sorted((each["subject"], each["data"]["n"]) for each in found) == [("A", 4), ("B", 2)]


async def test_a_part_may_follow_a_part_and_its_errors_name_their_step() -> None:
    run = DryRun(pipeline(BY_CUSTOMER, {"repartition": "region"}, {"map": "n = 1 ? missing : n"}))
    made = await run.run(event_sample({"data": {"customer": "A", "region": "eu", "n": 2}}, 1))
    (found,) = (json.loads(each.value or b"") for each in made.events)
    assert (found["subject"], found["data"], made.dead_letters) == ("eu", 2, [])
    events, (letter,) = await run.run(event_sample({"data": {"customer": "A", "region": "eu", "n": 1}}, 2))
    assert events == []
    assert letter.error.startswith("steps.2.map: ")


async def test_results_that_time_makes_due_go_on() -> None:
    clock = EventClock()
    run = DryRun(pipeline({"latest": {"every": 1000}}, BY_CUSTOMER, {"set": {"data.late": True}}), clock)
    for number in (1, 2):
        await run.run(event_sample({"data": {"customer": "A", "n": number}, "subject": "o"}, number))
    clock.advance(2)
    (made,) = (await run.tick()).events
    found = json.loads(made.value or b"")
    assert (found["subject"], found["data"]) == ("A", {"customer": "A", "n": 2, "late": True})
