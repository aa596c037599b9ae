"""`drop`."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.steps.drop import DropOptions
from tests.unit.services.process_api.making import applied, apply, draft, event, without_data


@pytest.mark.parametrize(
    ("drop", "data", "expected"),
    [
        ("data.card", {"card": 1, "id": 9007199254740993}, {"id": 9007199254740993}),
        (["data.card", "data.customer.email"], {"card": 1, "customer": {"email": 2, "id": 3}}, {"customer": {"id": 3}}),
        (
            "data.lines.cost",
            {"lines": [{"cost": 1, "n": 2}, {"n": 3}]},
            {"lines": [{"n": 2}, {"n": 3}]},
        ),
        ("data.nothing.at.all", {"id": 1}, {"id": 1}),
    ],
)
def test_members(drop: Any, data: Any, expected: Any) -> None:
    assert applied({"drop": drop}, event(data))["data"] == expected


def test_attributes_and_the_entity() -> None:
    after = applied({"drop": ["zone", "subject", "data"]}, event({"a": 1}, zone="eu"))
    assert not {"zone", "subject", "data"} & after.keys()


def test_an_absent_path_changes_nothing() -> None:
    (made,) = apply({"drop": "data.nothing"}, draft({"a": 1}))
    assert not made.changed


@pytest.mark.parametrize(
    ("drop", "reason"),
    [
        ("type", "every event has one"),
        ("id", "cannot be changed"),
        ([], "at least 1"),
        ("a.b", "only the entity"),
        (5, "valid string"),
    ],
)
def test_a_path_that_cannot_be_removed_is_refused_when_settings_are_read(drop: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        DropOptions(drop=drop)


def test_the_whole_content_is_dropped_whatever_it_is() -> None:
    made = applied({"drop": "data"}, without_data(data_base64="AAE="))
    assert made.keys().isdisjoint({"data", "data_base64"})
    assert made == applied({"drop": "data"}, without_data())
    assert applied({"drop": "data.card"}, without_data(data_base64="AAE="))["data_base64"] == "AAE="
