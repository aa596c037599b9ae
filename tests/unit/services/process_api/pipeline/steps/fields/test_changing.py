"""Values at paths."""

import json
from typing import Any

import pytest

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse
from services.process_api.pipeline.steps.fields.changing import change
from shared.errors import Malformed
from tests.unit.services.process_api.making import draft, event, without_data


def quoted(written: bytes) -> bytes:
    return b'"<%b>"' % written.replace(b'"', b"'")


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("data.a", {"a": 1, "b": 2}, {"a": "<1>", "b": 2}),
        ("data.a.b", {"a": {"b": [1]}}, {"a": {"b": "<[1]>"}}),
        (
            "data.a.b",
            {"a": [{"b": 1}, {"b": 2}, 3, [{"b": 4}]]},
            {"a": [{"b": "<1>"}, {"b": "<2>"}, 3, [{"b": "<4>"}]]},
        ),
        ("data.a", {"b": 1}, {"b": 1}),
        ("data.a.b", {"a": 1}, {"a": 1}),
        ("data.a.b", {}, {}),
        ("data", {"a": 1}, "<{'a':1}>"),
        ("data", [1], "<[1]>"),
    ],
)
def test_they_are_changed_wherever_they_are(path: str, data: Any, expected: Any) -> None:
    made = draft(data)
    change(made, parse(path), quoted)
    assert json.loads(made.encoded(b'"c"'))["data"] == expected


def test_attributes_are_changed_too() -> None:
    made = Draft(event({}, subject="C-1"))
    change(made, parse("subject"), quoted)
    change(made, parse("other"), quoted)
    assert json.loads(made.encoded(b'"c"'))["subject"] == "<'C-1'>"
    nothing = Draft(without_data())
    change(nothing, parse("data"), quoted)
    change(nothing, parse("data.a"), quoted)
    assert not nothing.changed


def test_an_error_names_the_path() -> None:
    def fail(_written: bytes) -> bytes:
        raise Malformed("no")

    with pytest.raises(Malformed, match=r"^data\.a: no"):
        change(draft({"a": 1}), parse("data.a"), fail)
