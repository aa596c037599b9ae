"""Plain expressions are not a dialect: each gives the result of JSONata."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given

from services.process_api.pipeline.draft import Draft
from shared.expression.jsonata import Jsonata
from shared.expression.nodes import text
from shared.expression.plain import grammar
from shared.expression.plain.terms import Undecided
from tests.unit.services.process_api.making import event
from tests.unit.shared.expression.expressions import entities, plain_expressions, same

ATTRIBUTES = {"type": "order.updated", "subject": "C-1", "sequence": 5}


@given(plain_expressions, entities)
@example("a = b", {"a": 0.1, "b": 0.10})
@example("a", {"a": [1]})
@example("a.b", {"a": [{"b": 1}]})
@example("$not(a > 1)", {})
@example("a in ['x', null]", {"a": None})
def test_a_plain_expression_gives_the_result_of_jsonata(expression: str, data: Any) -> None:
    term = grammar.parse(expression)
    assert term is not None, "the strategy makes plain expressions only"
    value, entity = event(data, sequence=5), json.dumps(data).encode()
    with contextlib.suppress(Undecided):
        found = term.value(Draft(value))
        assert same(None if found is None else text(found), Jsonata(expression).evaluate(entity, ATTRIBUTES))
    with contextlib.suppress(Undecided):
        holds = bool(term.test(Draft(value)))
        assert holds is (Jsonata(f"$boolean({expression})").evaluate(entity, ATTRIBUTES) == b"true")


@pytest.mark.parametrize(
    "expression",
    [
        "status",
        "customer.address.city",
        "`first name`",
        "a.`b c`.d",
        "amount > 100",
        "amount>100",
        "amount > -1.5e3 and status = 'open'",
        "a = 1 or b = 2 and c = 3",
        "(a = 1 or b = 2) and c = 3",
        "region in ['eu', \"us\"]",
        "'orders.' & region",
        "$not(paid) and $exists(customer)",
        '{"id": id, "customer": {"name": customer.name}, "kind": "order"}',
        "$event.type = 'order.created'",
        " a\n ",
        "true",
        "and_more",
        "$sum(lines.price)",
        "$sum(order.lines.price) > 10",
        "$sum(lines.(quantity * `unit price`))",
    ],
)
def test_expressions_that_are_plain(expression: str) -> None:
    assert grammar.parse(expression) is not None


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "a +",
        "a + 1",
        "a[0]",
        "a.*",
        "$sum(a)",
        "$sum(a.(b))",
        "$sum(a.(b * b))",
        "$sum(a.(b * 2))",
        "$sum(a.(b + c))",
        "$sum(a.b[0])",
        "$sum(a.b * c)",
        "$summed(a.b)",
        "a * b",
        "$",
        "$.a",
        "$event",
        "$events.a",
        "$event.a.b",
        "a = b = c",
        "'it\\'s'",
        "a ? 1 : 2",
        "-a",
        "01",
        "1.",
        "1.a",
        "a.1",
        "[1, 2]",
        "a in b",
        "a in []",
        "{}",
        "{a: 1}",
        "{'a': 1, 'a': 2}",
        "a /* why */",
        "function($x) {$x}",
        "and",
        "a.and",
        "a in [b]",
        "(" * 5000 + "a" + ")" * 5000,
        "a ~> $uppercase",
        "a b",
        "λ",
    ],
)
def test_expressions_that_are_left_to_jsonata(expression: str) -> None:
    assert grammar.parse(expression) is None


@pytest.mark.parametrize(
    ("expression", "characters"),
    [("a = 1", 5), ("a = ", 4), ("a = 1 b", 6), ("a in ['x', y]", 11), ("a = ~", 4), ("", 0)],
    ids=range(6),
)
def test_the_extent_is_where_an_expression_ceases_to_be_plain(expression: str, characters: int) -> None:
    assert grammar.extent(expression) == characters


@given(plain_expressions)
def test_a_plain_expression_is_plain_to_its_end(expression: str) -> None:
    assert grammar.extent(expression) == len(expression)
