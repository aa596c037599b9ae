"""Sums of items: the digits of JSONata, or left to it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.draft import Draft
from shared.errors import Malformed
from shared.expression.expression import Expression
from shared.expression.jsonata import Jsonata
from shared.expression.nodes import text
from shared.expression.plain import grammar
from shared.expression.plain.terms import Term, Undecided
from tests.unit.services.process_api.making import draft, event

SUM, PRODUCTS = "$sum(lines.price)", "$sum(lines.(quantity * price))"


def term(expression: str) -> Term:
    found = grammar.parse(expression)
    assert found is not None
    return found


_number = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1).map(str),
    st.integers(-99, 99).map(str),
    st.decimals(-1_000_000, 1_000_000, places=3).map(str),
    st.tuples(st.integers(-999, 999), st.integers(-30, 12)).map(lambda parts: f"{parts[0]}e{parts[1]}"),
    st.integers(0, 99).map(lambda number: f"{number}.0"),
)


@given(st.lists(st.tuples(_number, _number), min_size=1, max_size=12))
def test_the_sum_has_the_digits_of_jsonata(lines: list[tuple[str, str]]) -> None:
    items = ",".join(f'{{"price":{price},"quantity":{quantity},"sku":"a1e7"}}' for price, quantity in lines)
    data = f'{{"lines":[{items}]}}'
    for expression in (SUM, PRODUCTS):
        try:
            found = term(expression).value(Draft(event(text=data)))
        except Undecided:
            continue
        assert found is not None
        assert text(found) == Jsonata(expression).evaluate(data.encode(), None)


@pytest.mark.parametrize(
    "data",
    [
        {"lines": {"price": 1, "quantity": 2}},
        {"lines": 1},
        {"lines": [[{"price": 1, "quantity": 2}]]},
        {"lines": [{"price": 1, "quantity": 2}, 3]},
        {"lines": [{"price": 1, "quantity": None}]},
        {"lines": [{"price": "1", "quantity": 2}]},
        {"lines": [{"price": True, "quantity": 2}]},
        {"lines": [{"price": 1}, {"quantity": 2}]},
        {"lines": [{"price": 2**53, "quantity": 1}]},
        {"lines": [{"price": 2**52, "quantity": 2}]},
        {"lines": [{"price": 0.00001, "quantity": 1}]},
        {"lines": [{"price": 1, "quantity": 2, "sku": "1234567890123456"}]},
        [{"lines": [{"price": 1, "quantity": 2}]}],
    ],
)
def test_other_data_is_left_to_jsonata(data: Any) -> None:
    with pytest.raises(Undecided):
        term(PRODUCTS).scalar(draft(data))


@pytest.mark.parametrize("number", ["0.12345678901234567", "9007199254740993", "1e-400", "-1E-324"])
def test_a_number_that_a_double_does_not_hold_is_refused_as_ever(number: str) -> None:
    value = event(text=f'{{"lines":[{{"price":{number},"quantity":1}}]}}')
    with pytest.raises(Undecided):
        term(SUM).scalar(Draft(value))
    with pytest.raises(Malformed, match="would alter"):
        Expression(SUM).value(Draft(value))


def test_nothing_to_add_is_undefined() -> None:
    for data in ('{"id":1}', '{"lines":[]}'):
        assert term(SUM).value(Draft(event(text=data))) is None
        assert Jsonata(SUM).evaluate(data.encode(), None) is None


def test_a_sum_is_compared_and_joined() -> None:
    data = draft({"lines": [{"price": 1, "quantity": 2}, {"price": 0.5, "quantity": 4}], "id": 7})
    assert term(PRODUCTS).scalar(data) == 4
    assert term(f"{PRODUCTS} > 3.9 and {SUM} = 1.5").test(data) is True
    assert term(f"'n' & {PRODUCTS}").scalar(data) == "n4"
    assert term(PRODUCTS).test(data) is True
    assert term("$sum(lines.none)").test(draft({})) is None
    assert term("$sum(lines.price)").test(draft({"lines": [{"price": 0}]})) is False
    made = Expression(f"{{'id': id, 'total': {PRODUCTS}}}").value(data)
    assert made is not None
    assert json.loads(made) == {"id": 7, "total": 4}
