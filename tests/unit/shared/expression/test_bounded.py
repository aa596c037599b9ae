import json
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.expression.bounded import LONGEST, BoundedPredicate
from shared.expression.document import EventDocument
from shared.expression.expression import Condition
from tests.unit.shared.expression.expressions import entities, plain_expressions

EVENT = {"specversion": "1.0", "id": "1", "type": "order.created", "cursor": "AaB", "data": {"total": 120, "eu": True}}


def event(data: object = EVENT["data"]) -> EventDocument:
    return EventDocument(json.dumps({**EVENT, "data": data}).encode(), without="cursor")


HOLDS = {
    "total > 100": True,
    "total > 100 and $not(eu)": False,
    "$event.type in ['order.created', 'order.changed']": True,
    "$exists(total) and total <= 120.0": True,
    "name = 'x & {y}'": False,
    "`total` != 3": True,
    "absent": False,
    "$exists($event.cursor)": None,
}


@pytest.mark.parametrize(("expression", "holds"), HOLDS.items(), ids=map(str, range(len(HOLDS))))
def test_holds_for_an_event(expression: str, holds: bool | None) -> None:
    if holds is None:
        with pytest.raises(Malformed):
            BoundedPredicate(expression)
    else:
        assert BoundedPredicate(expression).holds(event()) is holds


def test_the_cursor_is_not_of_the_event() -> None:
    assert not BoundedPredicate("$event.cursor = 'AaB'").holds(event())


@given(plain_expressions, entities)
def test_the_result_is_that_of_jsonata(expression: str, data: object) -> None:
    try:
        predicate = BoundedPredicate(expression)
        found = predicate.holds(event(data))
    except Malformed:
        return
    assert found is Condition(expression).holds(event(data))


REFUSED = {
    "": "position 1: found the end; expected comparisons",
    "total >": "position 8: found the end; ",
    "total > 100 and $uppercase(name) = 'X'": 'position 17: found "$uppercase(name) = \'"; ',
    "total > 100)": "position 12: found ')'; ",
    "items[0].x = 1": "position 6: found '[0].x = 1'; ",
    "a in [b]": "position 7: found 'b]'; ",
    "a = 1 and $sum(a.b) > 1": "position 11: found '$sum(a.b) > 1'; ",
    "$sum(a.(b * c)) > 1": "position 1: found '$sum(a.(b * c)) > 1'; ",
    "a & a = 1": "position 3: found '& a = 1'; ",
    "'&' = a & a": "position 9: found '& a'; ",
    '{"a": b}': "position 1: found '{\"a\": b}'; ",
    "a = function($x){$x}": "position 5: found 'function($x){$x}'; ",
    "#": "position 1: found '#'; ",
    "a" * (LONGEST + 1): "found 1001 characters; the limit is 1000",
    "(" * 900 + "a" + ")" * 90: "position ",
}


@pytest.mark.parametrize(("expression", "text"), REFUSED.items(), ids=map(str, range(len(REFUSED))))
def test_another_expression_is_refused_with_the_position(expression: str, text: str) -> None:
    with pytest.raises(Malformed, match=re.escape(text)):
        BoundedPredicate(expression)


@given(st.text(max_size=50))
def test_hostile_expressions_are_refused_or_hold_or_not(expression: str) -> None:
    with suppress(Malformed):
        assert BoundedPredicate(expression).holds(event()) in {True, False}


@pytest.mark.parametrize(
    ("expression", "data"), [("a > 1", {"a": "x"}), ("a.b = 1", {"a": [{"b": 1}]}), ("a = 1", {"a": {}})]
)
def test_what_only_jsonata_can_decide_fails(expression: str, data: object) -> None:
    with pytest.raises(Malformed, match="array"):
        BoundedPredicate(expression).holds(event(data))
