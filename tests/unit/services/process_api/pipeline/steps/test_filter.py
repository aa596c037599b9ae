"""`filter`."""

from typing import Any

import pytest

from tests.unit.services.process_api.making import apply, draft

ORDER = {"amount": 120, "status": "open", "paid": False, "id": 9007199254740993, "tags": ["a", "b"], "note": None}


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ("amount > 100", True),
        ("amount > 120", False),
        ("amount >= 120 and status = 'open'", True),
        ("status in ['closed', 'held']", False),
        ("$not(paid)", True),
        ("nothing", False),
        ("note", False),
        ("id = 9007199254740992", False),
        ("'b' in tags", True),
        ("$contains(status, 'pe')", True),
        ("$event.type = 'order.updated'", True),
        ("$event.subject = 'C-2'", False),
    ],
)
def test_events_that_satisfy_the_condition_pass(condition: str, passes: object) -> None:
    before = draft(ORDER)
    after = apply({"filter": condition}, before)
    assert (after == [before]) is passes
    assert not before.changed


@pytest.mark.parametrize("data", [[1], "text", 5, None, {}])
def test_any_entity_can_be_filtered(data: Any) -> None:
    assert apply({"filter": "$event.id"}, draft(data)) != []
    assert apply({"filter": "a.b.c"}, draft(data)) == []
