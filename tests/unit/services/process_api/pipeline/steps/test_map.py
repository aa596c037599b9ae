"""`map`."""

from typing import Any

import pytest

from services.process_api.pipeline.draft import Draft
from shared.errors import Malformed
from tests.unit.services.process_api.making import applied, apply, draft, event, without_data

ORDER = {"id": 7, "customer": {"name": "Ada"}, "lines": [{"price": 2, "quantity": 3}, {"price": 5, "quantity": 1}]}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("customer", {"name": "Ada"}),
        ("{'id': id, 'name': customer.name, 'none': nothing}", {"id": 7, "name": "Ada"}),
        ("{'id': id, 'total': $sum(lines.(price * quantity))}", {"id": 7, "total": 11}),
        ("lines.price", [2, 5]),
        ("{'key': $event.subject, 'of': $event.source}", {"key": "C-1", "of": "/sources/orders"}),
        ("id", 7),
        ("'constant'", "constant"),
        ("null", None),
        ("$merge([$, {'new': true}])", {**ORDER, "new": True}),
    ],
)
def test_the_entity_is_the_value_of_the_expression(expression: str, expected: Any) -> None:
    assert applied({"map": expression}, event(ORDER))["data"] == expected


def test_the_attributes_stay() -> None:
    after = applied({"map": "id"}, event(ORDER, zone="eu"))
    assert (after["id"], after["subject"], after["zone"]) == ("orders:7", "C-1", "eu")


def test_an_undefined_value_is_not_an_entity() -> None:
    with pytest.raises(Malformed, match="is undefined for this event; to leave events out, use filter"):
        apply({"map": "nothing"}, draft(ORDER))


def test_a_failed_evaluation_names_the_reason() -> None:
    with pytest.raises(Malformed, match="T2001"):
        apply({"map": "customer + 1"}, draft(ORDER))


def test_an_event_without_an_entity_can_be_given_one() -> None:
    assert applied({"map": "{'of': $event.id, 'n': $count(x)}"}, without_data())["data"] == {
        "of": "orders:7",
        "n": 0,
    }
    (made,) = apply({"map": "'bytes'"}, Draft(without_data(data_base64="AAA=")))
    assert made.data_text() == b'"bytes"'
