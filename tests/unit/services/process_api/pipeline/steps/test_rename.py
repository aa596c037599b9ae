"""`rename`."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.steps.rename import RenameOptions
from shared.errors import Malformed
from tests.unit.services.process_api.making import applied, apply, draft, event


@pytest.mark.parametrize(
    ("rename", "data", "expected"),
    [
        ({"data.old": "data.new"}, {"old": 9007199254740993, "x": 1}, {"new": 9007199254740993, "x": 1}),
        ({"data.id": "data.customer.id"}, {"id": 1}, {"customer": {"id": 1}}),
        ({"data.a.b": "data.b"}, {"a": {"b": [1]}}, {"a": {}, "b": [1]}),
        ({"data.nothing": "data.new"}, {"a": 1}, {"a": 1}),
        ({"data.a": "data.b"}, {"a": 1, "b": 2}, {"b": 1}),
        ({"data.a": "data.x", "data.b": "data.a", "data.x": "data.b"}, {"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"data.inner": "data"}, {"inner": {"a": 1}, "b": 2}, {"a": 1}),
        ({"data.none": "data.new"}, {"none": None}, {"new": None}),
    ],
)
def test_members(rename: dict[str, str], data: Any, expected: Any) -> None:
    assert applied({"rename": rename}, event(data))["data"] == expected


def test_between_members_and_attributes() -> None:
    after = applied({"rename": {"data.key": "subject", "zone": "data.zone"}}, event({"key": "K"}, zone="eu"))
    assert (after["subject"], after["data"], "zone" in after) == ("K", {"zone": "eu"}, False)


@pytest.mark.parametrize(
    ("rename", "data", "reason"),
    [
        ({"data.key": "subject"}, {"key": 5}, "expected text"),
        ({"data.lines.a": "data.a"}, {"lines": [{"a": 1}]}, "leads through an array"),
        ({"data.a": "data.b.c"}, {"a": 1, "b": 2}, "is not an object"),
    ],
)
def test_an_impossible_move_is_refused(rename: dict[str, str], data: Any, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        apply({"rename": rename}, draft(data))


@pytest.mark.parametrize("rename", [{}, {"type": "data.type"}, {"data.a": "id"}, {"data.a": "channel"}, {"data.a": 5}])
def test_malformed_paths_are_refused_when_settings_are_read(rename: Any) -> None:
    with pytest.raises(ValidationError):
        RenameOptions(rename=rename)
