"""`set`."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.steps.set import SetOptions
from shared.errors import Malformed
from tests.unit.services.process_api.making import applied, apply, draft, event, text_of_data

ORDER = {"id": 7, "price": 2, "quantity": 3, "customer": {"id": "C-9", "none": None}}


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"data.region": "eu"}, {"region": "eu"}),
        ({"data.id": None}, {"id": None}),
        ({"data.a": {"b": [1, 2.5, True]}}, {"a": {"b": [1, 2.5, True]}}),
        ({"data.big": 9007199254740993}, {"big": 9007199254740993}),
        ({"data.é": "ü"}, {"é": "ü"}),
        ({"data.total": "=price * quantity"}, {"total": 6}),
        ({"data.total": "= price * quantity "}, {"total": 6}),
        ({"data.copy": "=customer"}, {"copy": ORDER["customer"]}),
        ({"data.null": "=customer.none"}, {"null": None}),
        ({"data.none": "=nothing"}, {}),
        ({"data.equals": "='=x'"}, {"equals": "=x"}),
        ({"data.a": 1, "data.b": "=a + 1"}, {"a": 1, "b": 2}),
    ],
)
def test_members(values: dict[str, Any], changed: dict[str, Any]) -> None:
    assert applied({"set": values}, event(ORDER))["data"] == {**ORDER, **changed}


def test_attributes() -> None:
    after = applied({"set": {"subject": "=customer.id", "type": "order.seen", "zone": "eu", "level": 3}}, event(ORDER))
    assert [after[name] for name in ("subject", "type", "zone", "level")] == ["C-9", "order.seen", "eu", 3]


def test_the_rest_is_unaltered() -> None:
    (made,) = apply({"set": {"data.a.new": 1}}, draft(ORDER))
    assert made.changed
    before = '{"n":9007199254740993,"f":1.10,"deep":{"n":-12345678901234567890}}'
    (after,) = apply({"set": {"data.new": 1}}, Draft(event(text=before)))
    assert text_of_data(after.encoded(b'"c"')) == before[:-1] + ',"new":1}'


def test_a_value_that_an_attribute_cannot_have_is_refused() -> None:
    with pytest.raises(Malformed, match="attribute 'subject': found 7; expected text"):
        apply({"set": {"subject": "=id"}}, draft(ORDER))


def test_a_value_that_is_not_an_object_gets_no_members() -> None:
    with pytest.raises(Malformed, match=r"'data\.id' is not an object"):
        apply({"set": {"data.id.x": 1}}, draft(ORDER))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "at least 1 item"),
        ({"data.a": "=a +"}, r"data\.a`\n.*the expression does not compile"),
        ({"data.a": float("nan")}, r"data\.a`.*\n.*finite number"),
        ({"subject": 5}, r"set\.subject\n.*attribute 'subject': found 5; expected text"),
        ({"dataschema": 5}, r"set\.dataschema\n.*attribute 'dataschema': found 5; expected"),
        ({"id": "x"}, "'id' cannot be changed"),
        ({"channel": "x"}, "'channel' cannot be changed"),
        ({"a.b": 1}, "only the entity has members"),
    ],
)
def test_malformed_values_are_refused_when_settings_are_read(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SetOptions(set=values)


def test_the_expressions_are_listed() -> None:
    assert SetOptions(set={"data.a": "=b", "data.c": "d", "subject": "=e"}).expressions() == ["b", "e"]
