"""Items of arrays."""

import pytest

from services.process_api.pipeline.paths import parse
from services.process_api.pipeline.steps.flow import items
from shared.errors import Malformed
from shared.expression.nodes import Raw, text
from tests.unit.services.process_api.making import draft


def test_items_stay_as_they_are_written() -> None:
    assert items.items_of(b'[1.10, {"a": 1}]', "x") == [Raw(b"1.10"), Raw(b'{"a": 1}')]
    assert items.items_of(None, "x") == items.items_of(b"null", "x") == items.items_of(b"[]", "x") == []


def test_what_is_no_array_or_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Malformed, match="x: found 5; expected an array"):
        items.items_of(b"5", "x")
    monkeypatch.setattr(items, "ITEM_LIMIT", 1)
    with pytest.raises(Malformed, match="x: found 2 items; expected at most 1"):
        items.items_of(b"[1,2]", "x")


def test_a_value_is_found_at_its_path() -> None:
    event = draft({"a": {"b": [1]}})
    found = items.node_at(event, parse("data.a.b"))
    assert found is not None
    assert text(found) == b"[1]"
    assert items.node_at(event, parse("data.a.b.c")) is None
    assert items.node_at(event, parse("data.x")) is None
