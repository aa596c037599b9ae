"""`emit`."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

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


def test_a_malformed_channel_is_refused() -> None:
    for written, reason in (["a b"], "expected dotted words"), (["=a +"], "does not compile"), ([], "at least 1"):
        with pytest.raises(ValidationError, match=reason):
            step_options({"emit": written})
    with pytest.raises(Rejected, match=r"^steps\.0\.emit: channel 'x y'"):
        run({"emit": ["=b"]}, b="x y")
