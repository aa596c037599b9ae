"""`split`."""

import json
from typing import Any

import pytest

from shared.errors import Malformed
from tests.unit.services.process_api.making import apply, draft


@pytest.mark.parametrize(
    ("step", "data", "expected"),
    [
        ("lines", {"lines": [1, {"a": 2}]}, [("orders:7/1", 1), ("orders:7/2", {"a": 2})]),
        ("lines", {"lines": []}, []),
        ("lines", {"lines": None}, []),
        ("lines", {}, []),
        ("lines[n > 1]", {"lines": [{"n": 1}, {"n": 2}]}, [("orders:7/1", {"n": 2})]),
        (
            {"items": "lines", "into": "data.line"},
            {"o": 1, "lines": ["a"]},
            [("orders:7/1", {"o": 1, "lines": ["a"], "line": "a"})],
        ),
        ("lines", {"lines": [12345678901234567890]}, [("orders:7/1", 12345678901234567890)]),
    ],
)
def test_each_item_is_an_event(step: Any, data: Any, expected: Any) -> None:
    made = [json.loads(each.encoded(b'"c"')) for each in apply({"split": step}, draft(data))]
    assert [(each["id"], each["data"]) for each in made] == expected


def test_the_copies_change_without_each_other() -> None:
    one, two = apply({"split": {"items": "l", "into": "data.i"}}, draft({"l": [1, 2], "a": {"b": 1}}))
    (changed,) = apply({"set": {"data.a.b": 2, "subject": "x"}}, one)
    assert (json.loads(changed.encoded(b'"c"'))["subject"], json.loads(two.encoded(b'"c"'))["subject"]) == ("x", "C-1")
    assert (changed.data_text(), two.data_text()) != (two.data_text(), two.data_text())
    assert json.loads(two.data_text() or b"")["a"] == {"b": 1}


def test_a_value_that_is_no_array_is_an_event_or_refused_where_it_is_set() -> None:
    (made,) = apply({"split": "lines"}, draft({"lines": {"a": 1}}))
    assert made.data_text() == b'{"a":1}'
    with pytest.raises(Malformed):
        apply({"split": {"items": "lines", "into": "data.a.b"}}, draft({"lines": [1], "a": 5}))
