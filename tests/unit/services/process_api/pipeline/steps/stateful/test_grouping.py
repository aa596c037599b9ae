"""Which events belong together."""

import pytest

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.stateful.grouping import Grouping
from services.process_api.state.step_state import Moment
from shared.errors import Malformed
from tests.unit.services.process_api.making import draft, event


def key(data: object, *by: str, subject: bytes = b"C-1") -> bytes:
    return Grouping(by).of(draft(data), Moment(subject)).key


def test_groups_have_keys_of_their_own() -> None:
    keys = [
        key({}),
        key({}, subject=b"C-2"),
        key({"a": 1}, "a"),
        key({"a": "1"}, "a"),
        key({"a": 1, "b": 2}, "a", "b"),
        key({"a": 2, "b": 1}, "a", "b"),
        key({"a": 1}, "a", subject=b"1:C-1\0"),
        key({"a": "x" * 300}, "a"),
        key({"a": "x" * 301}, "a"),
    ]
    assert len(set(keys)) == len(keys)
    assert max(map(len, keys)) <= 256


def test_the_values_are_kept() -> None:
    assert Grouping(["a", "b"]).of(draft({"a": 1, "b": [2]}), Moment()).values == (b"1", b"[2]")


@pytest.mark.parametrize(
    "texts",
    [
        ['"café"', '"caf\\u00e9"'],
        ['"a/b"', '"a\\/b"'],
        ["12", "12.0", "1.2e1", "120E-1"],
        ["-0", "0", "0.0"],
        ["9007199254740993", "9007199254740993.0"],
        ["0.12345678901234567891", "0.123456789012345678910"],
        ['{"x":1,"y":[2]}', '{"y": [2.0], "x": 1}'],
    ],
)
def test_equal_values_are_one_group_however_they_are_written(texts: list[str]) -> None:
    groups = [Grouping(["a"]).of(Draft(event(text=f'{{"a":{text}}}')), Moment(b"C-1")) for text in texts]
    assert len({group.key for group in groups}) == 1
    assert [group.values[0].decode() for group in groups] == texts


def test_an_undefined_value_is_named() -> None:
    with pytest.raises(Malformed, match="`by`: b is undefined for this event"):
        key({"a": 1}, "a", "b")
