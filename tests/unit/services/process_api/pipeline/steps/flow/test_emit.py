"""`emit`."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.dry_run import DryRun, Sample
from services.process_api.pipeline.steps.outcome import Rejected
from tests.unit.services.process_api.making import event, pipeline, step_options


def run(*steps: Any, **data: Any) -> list[tuple[str, Any]]:
    outputs = pipeline(*steps).run(event(data))
    for output in outputs:
        assert json.loads(output.value or b"")["channel"] == output.key.decode()
        assert json.loads(output.value or b"")["id"] == "orders:7"
    return [(output.key.decode(), json.loads(output.value or b"")["data"]) for output in outputs]


def test_each_channel_gets_the_event_once() -> None:
    step = {"emit": ["a", "=b", "=c"]}
    assert run(step, b="x", c="a") == [("a", {"b": "x", "c": "a"}), ("x", {"b": "x", "c": "a"})]
    assert run({"emit": ["=b"]}) == []


def test_the_steps_behind_run_on_each_of_them() -> None:
    made = run({"emit": ["a", "b"]}, {"set": {"data.x.y": "=$event.id"}}, {"filter": "true"}, x={"y": 1})
    assert made == [("a", {"x": {"y": "orders:7"}}), ("b", {"x": {"y": "orders:7"}})]
    assert run({"emit": ["a"]}, {"route": "'z'"}) == [("z", {})]


@pytest.mark.parametrize(
    ("steps", "channels"),
    [
        ([{"emit": ["a", "b"]}, {"route": "'z'"}], ["z"]),
        ([{"emit": ["a", "b"]}, {"emit": ["c", "d"]}], ["c", "d"]),
        ([{"emit": ["a", "b"]}, {"branch": {"cases": [{"when": "x", "steps": [{"route": "'a'"}]}]}}], ["a"]),
        ([{"use": {"list": "copies", "steps": [{"emit": ["a", "b"]}]}}, {"emit": ["b", "a", "c"]}], ["b", "a", "c"]),
    ],
)
def test_copies_that_come_together_again_are_one_event(steps: list[Any], channels: list[str]) -> None:
    assert [channel for channel, _ in run(*steps, x=True)] == channels


def test_the_items_of_copies_that_come_together_again_come_once() -> None:
    made = pipeline({"emit": ["a", "b"]}, {"split": "lines"}, {"route": "'z'"}).run(event({"lines": [1, 2]}))
    assert [json.loads(each.value or b"")["id"] for each in made] == ["orders:7/1", "orders:7/2"]


async def test_copies_that_go_on_in_a_later_part_come_once() -> None:
    run = DryRun(pipeline({"emit": ["a", "b"]}, {"route": "team"}, {"repartition": "x"}, {"set": {"data.y": 1}}))
    assert [key for key, _, _ in (await run.run(Sample(event({"team": "c", "x": 1})))).events] == [b"c"]
    run = DryRun(pipeline({"emit": ["a", "b"]}, {"repartition": "x"}, {"set": {"data.y": 1}}))
    assert [key for key, _, _ in (await run.run(Sample(event({"x": 1})))).events] == [b"a", b"b"]


@pytest.mark.parametrize(
    "step",
    [
        {"dedupe": {"within": 60}},
        {"latest": {"every": 100}},
        {"aggregate": {"window": {"tumbling": 60}, "values": {"n": "count"}}},
        {"join": {"left": "orders", "right": "payments", "within": 60}},
    ],
)
def test_a_step_that_would_take_the_copies_for_several_events_stands_before_it(step: Any) -> None:
    (kind,) = step
    copies = {"branch": {"cases": [{"when": "x", "steps": [{"emit": ["a", "b"]}]}]}}
    for steps in ([{"emit": ["a", "b"]}, step], [copies, {"filter": "x"}, step]):
        with pytest.raises(ValidationError, match=rf"\.{kind} would take an event once for each channel"):
            pipeline(*steps)
    pipeline(step, {"emit": ["a", "b"]})
    pipeline({"emit": ["=team"]}, step)
    pipeline({"emit": ["a", "b"]}, {"table": {"of": "teams"}}, {"schedule": {"quiet": 60}})


def test_a_malformed_channel_is_refused() -> None:
    for written, reason in (["a b"], "expected dotted words"), (["=a +"], "does not compile"), ([], "at least 1"):
        with pytest.raises(ValidationError, match=reason):
            step_options({"emit": written})
    with pytest.raises(Rejected, match=r"^steps\.0\.emit: channel 'x y'"):
        run({"emit": ["=b"]}, b="x y")
