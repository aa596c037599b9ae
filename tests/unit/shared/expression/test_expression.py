"""Expressions over events: the same result in each way of evaluation, and never an altered number."""

import json
from typing import Any

import jsonata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.process_api.pipeline.draft import Draft
from shared.errors import Malformed
from shared.expression.expression import Condition, Expression
from shared.expression.jsonata import Jsonata
from tests.unit.services.process_api.making import draft, event, without_data
from tests.unit.shared.expression.expressions import entities, plain_expressions, same

BIG = 9007199254740993
ENTITY = {"id": BIG, "amount": 120, "name": "Ada", "lines": [{"price": 2, "quantity": 3}], "ids": [BIG, BIG + 2]}


def value(expression: str, data: Any = None, **attributes: Any) -> Any:
    found = Expression(expression).value(draft(data, **attributes))
    return None if found is None else json.loads(found)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("id", BIG),
        ("{'id': id, 'n': name}", {"id": BIG, "n": "Ada"}),
        ("ids", [BIG, BIG + 2]),
        ("amount * 2", 240),
        ("$sum(lines.(price * quantity))", 6),
        ("{'id': id, 'total': $sum(lines.(price * quantity))}", {"id": BIG, "total": 6}),
        ("{'id': id, 'in': {'ids': ids, 'two': amount * 2}}", {"id": BIG, "in": {"ids": [BIG, BIG + 2], "two": 240}}),
        ("{'key': 'order-' & id, 'none': nothing}", {"key": f"order-{BIG}"}),
        ("{'upper': $uppercase(name), 'late': nothing}", {"upper": "ADA"}),
        ("'n.' & $string(amount % 7)", "n.1"),
        ("{'id': id, 'odd': amount % 7 = 1 ? 'yes' : 'no'}", {"id": BIG, "odd": "yes"}),
        ("id = 5 ? 'five' : 'other'", None),
    ],
)  # fmt: skip
def test_large_numbers_stay_exact_or_are_refused(expression: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(Malformed, match="holds 9007199254740993, which JSONata would alter"):
            value(expression, ENTITY)
    else:
        assert value(expression, ENTITY) == expected


@pytest.mark.parametrize("expression", ["$", "id + 1", "$string(id)", "$max(ids)", "{'a': id + 1}", "$merge([$, {}])"])
def test_an_inexact_evaluation_is_refused(expression: str) -> None:
    with pytest.raises(Malformed, match="would alter"):
        value(expression, ENTITY)


_big = st.integers(-(2**70), 2**70)
_entities = st.fixed_dictionaries(
    {"id": _big, "amount": st.integers(0, 200), "name": st.sampled_from(["Ada", "Bob"])},
    optional={
        "other": _big,
        "items": st.lists(st.fixed_dictionaries({"n": st.integers(0, 9), "big": _big}), max_size=3),
    },
)
_expressions = st.sampled_from(
    [
        "id",
        "items",
        "items.big",
        "items.n",
        "$sum(items.n)",
        "items[n > 3].big",
        "{'id': id, 'amount': amount}",
        "{'id': id, 'total': $sum(items.n)}",
        "{'id': id, 'big': items.big, 'name': $uppercase(name)}",
        "amount > 100 ? id : other",
        "[id, other]",
        "$append(id, other)",
        "id > other",
        "id = other",
        "amount > 100",
        "$count(items)",
    ]
)


@given(_expressions, _entities)
def test_no_number_is_ever_altered(expression: str, data: dict[str, Any]) -> None:
    """The reference in Python computes with integers of any size."""
    expected = jsonata.Jsonata(expression).evaluate(json.loads(json.dumps(data)))
    try:
        found = value(expression, data)
    except Malformed as exc:
        assert "would alter" in str(exc)  # noqa: PT017 -- either is right
    else:
        assert found == expected


@given(_expressions, _entities)
def test_a_condition_decides_by_the_exact_numbers(expression: str, data: dict[str, Any]) -> None:
    expected = jsonata.Jsonata(f"$boolean({expression})").evaluate(json.loads(json.dumps(data)))
    try:
        holds = Condition(expression).holds(draft(data))
    except Malformed as exc:
        assert "would alter" in str(exc)  # noqa: PT017 -- either is right
    else:
        assert holds is bool(expected)


_member = st.one_of(
    plain_expressions,
    st.sampled_from(["$count(a)", "a[b = 1]", "$append(a, b)", "a.(b & 'x')", "(a)[0]", "$exists(a) ? b : c", "a.b[]"]),
)
_constructors = st.dictionaries(st.sampled_from("klmn"), _member, min_size=1).map(
    lambda members: "{" + ", ".join(f"'{name}': {part}" for name, part in members.items()) + "}"
)


@given(_constructors, entities)
def test_a_constructor_evaluated_by_member_gives_the_result_of_jsonata(expression: str, data: Any) -> None:
    attributes = {"type": "order.updated", "subject": "C-1", "sequence": 5}
    try:
        expected = Jsonata(expression).evaluate(json.dumps(data).encode(), attributes)
    except Malformed:
        return  # member by member, it may not fail
    found = Expression(expression).value(draft(data, sequence=5))
    assert same(found, expected)


def test_an_object_that_is_partly_plain_is_exact_and_keeps_its_order() -> None:
    expression = """{'b': id, 'x"y': $uppercase(b), "a": b & '!', 'k l': $count([b, b]), 'n': nothing, 'm': $max(n)}"""
    found = Expression(expression).value(draft({"id": 9007199254740993, "b": "ü"}))
    assert found == '{"b":9007199254740993,"x\\"y":"Ü","a":"ü!","k l":2}'.encode()


def test_an_object_fails_if_jsonata_cannot_make_one_of_its_members() -> None:
    with pytest.raises(Malformed, match="T0410"):
        Expression("{'b': b, 'c': $uppercase(b)}").value(draft({"b": 1}))


@given(st.one_of(_member, _constructors), entities, entities)
def test_an_expression_that_reads_little_of_large_entities_gives_the_result_of_jsonata(
    expression: str, first: Any, second: Any
) -> None:
    compiled, attributes = Expression(expression), {"type": "order.updated", "subject": "C-1", "sequence": 5}
    for entity in (first, second):
        data = {**entity, "zz": "x" * 1000} if isinstance(entity, dict) else entity
        try:
            expected = Jsonata(expression).evaluate(json.dumps(data).encode(), attributes)
        except Malformed:
            continue
        assert same(compiled.value(draft(data, sequence=5)), expected)


@pytest.mark.parametrize("padding", ["", "x" * 1000])
def test_a_number_that_is_named_is_refused_also_where_the_entity_is_large(padding: str) -> None:
    exact, other = {"name": "Ada", "other": BIG, "padding": padding}, {"name": BIG, "padding": padding}
    compiled = Expression("$uppercase($string(name))")
    for _ in range(2):
        assert compiled.value(draft(exact)) == b'"ADA"'
        with pytest.raises(Malformed, match="holds 9007199254740993, which JSONata would alter"):
            compiled.value(draft(other))
        assert compiled.value(draft([{"name": "Bob"}])) == b'"BOB"'


def test_a_condition_on_other_members_is_evaluated() -> None:
    assert Condition("$contains(name, 'd')").holds(draft(ENTITY))
    assert Condition("$sum(lines.price) > 1").holds(draft(ENTITY))
    assert not Condition("$sum(lines.price) > 2").holds(draft(ENTITY))


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("'text'", True),
        ("''", False),
        ("0", False),
        ("null", False),
        ("nothing", False),
        ("lines", True),
        ("[]", False),
        ("{}", False),
        ("{'a': 1}", True),
        ("[0]", False),
        ("amount > 100 /* why */", True),
    ],
)
def test_a_condition_is_true_as_jsonata_says(expression: str, holds: object) -> None:
    assert Condition(expression).holds(draft({"amount": 120, "lines": [{"price": 2}]})) is holds


def test_the_attributes_are_available() -> None:
    assert value("$event.subject & '/' & $uppercase($event.type)", {}) == "C-1/ORDER.UPDATED"
    assert value("$event.sequence + 1", {}, sequence=4) == 5


def test_an_attribute_that_would_be_altered_is_refused() -> None:
    assert value("$event.sequence", {}, sequence=BIG) == BIG
    with pytest.raises(Malformed, match="attribute 'sequence' is 9007199254740993"):
        value("$event.sequence + 1", {}, sequence=BIG)


def test_an_event_without_an_entity_has_undefined_for_a_root() -> None:
    bare = without_data()
    assert Expression("a").value(Draft(bare)) is None
    assert Condition("$event.type = 'order.updated' and $count(a) = 0").holds(Draft(bare))


def test_text_of_an_expression() -> None:
    assert Expression("'orders.' & region").text(draft({"region": "eu"})) == "orders.eu"
    assert Expression("region").text(draft({})) is None
    assert Expression("$uppercase(region)").text(draft({"region": "eu"})) == "EU"
    assert Expression("$uppercase(region)").text(draft({})) is None
    assert Expression("orders.region").text(draft({"orders": [{"region": "eu"}]})) == "eu", (
        "only JSONata decides arrays"
    )
    with pytest.raises(Malformed, match="gives 5, expected text"):
        Expression("region").text(draft({"region": 5}))


def test_a_changed_entity_is_evaluated_as_changed() -> None:
    changed = Draft(event({"a": 1}))
    entity = changed.data()
    assert isinstance(entity, dict)
    entity["a"] = changed.attributes()["subject"]
    changed.mark_data_changed()
    assert Condition("$uppercase(a) = 'C-1'").holds(changed)


@pytest.mark.parametrize("made", [Expression, Condition])
def test_an_expression_that_does_not_compile_is_refused(made: type[Expression] | type[Condition]) -> None:
    with pytest.raises(ValueError, match="does not compile"):
        made("a +")
