"""What an example expects, compared with what happens."""

from typing import Any

import pytest

from services.cli.pipelines.examples import Example, difference
from services.process_api.dry_run import Result
from shared.bus.protocol import Outgoing
from shared.events.dead_letter import Reject

EVENT = b'{"id":"1","channel":"orders.eu","data":{"n":9007199254740993,"price":1.50,"tags":["a"]}}'


def example(**expected: Any) -> Example:
    return Example.model_validate({"name": "an example", "pipeline": "orders", "given": [{}], **expected})


def result(*errors: str, event: bytes | None = EVENT) -> Result:
    events = [] if event is None else [Outgoing(b"orders.eu", event, ())]
    return Result(events, [Reject("1", b"{}", error, "pipeline", "sample/0/1") for error in errors])


@pytest.mark.parametrize(
    "expected",
    [
        {"channel": "orders.eu"},
        {"data": {"tags": ["a"], "price": 1.5, "n": 9007199254740993}},
        {},
    ],
)
def test_only_what_is_named_is_compared(expected: dict[str, Any]) -> None:
    assert difference(example(expect=[expected]), [result()]) == ""


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ({"channel": "orders.us"}, '-  "channel": "orders.us"'),
        ({"subject": "C-9"}, '-  "subject": "C-9"'),
        ({"data": {"n": 9007199254740992, "price": 1.5, "tags": ["a"]}}, '-    "n": 9007199254740992,'),
        ({"data": {"tags": ["a"]}}, '+    "n": 9007199254740993,'),
    ],
)
def test_a_difference_is_a_diff(expected: dict[str, Any], line: str) -> None:
    first, *lines = difference(example(expect=[expected]), [result()]).splitlines()
    assert first == "events (-: expected, +: found)"
    assert line in lines


@pytest.mark.parametrize(("expected", "found"), [(True, b"1"), (0, b"false"), (1, b"true")])
def test_true_is_not_1(expected: bool | int, found: bytes) -> None:
    event = b'{"data": {"a": [%b]}}' % found
    lines = difference(example(expect=[{"data": {"a": [expected]}}]), [result(event=event)]).splitlines()
    assert f"+      {found.decode()}" in lines
    assert difference(example(expect=[{"data": {"a": [1]}}]), [result(event=b'{"data": {"a": [1.0]}}')]) == ""


def test_the_number_of_events_counts() -> None:
    assert "-{" in difference(example(expect=[{"id": "1"}, {"id": "2"}]), [result()])
    assert '+  "id": "1"' in difference(example(), [result()])


def test_dead_letters_are_compared_by_pattern() -> None:
    letters = [result("steps.0.validate: 'a' is missing", event=None)]
    assert difference(example(dead_letters=["steps.0.validate: *"]), letters) == ""
    assert difference(example(dead_letters=["*"]), letters) == ""
    assert difference(example(dead_letters=["steps.1.*"]), letters).splitlines() == [
        "dead letters (-: expected, +: found)",
        "-steps.1.*",
        "+steps.0.validate: 'a' is missing",
    ]
    assert difference(example(), letters).endswith("+steps.0.validate: 'a' is missing")
