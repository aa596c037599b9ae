"""Which members an expression reads is decided from its text, conservatively."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.expression.jsonata import Jsonata
from shared.expression.narrowing import names_its_members, narrowed, split
from shared.expression.nodes import Raw, text
from tests.unit.shared.expression.expressions import entities, plain_expressions, same

NAMED = [
    "amount > 100",
    "$sum(lines.(price * quantity))",
    "lines[price > 5].sku",
    "$contains(name, /x/)",
    "{'a': a, 'b': $count(b)}",
    "$map(lines, function($line) {$line.price})",
    "a ? b : c",
    "n % 17 = 5",
    "'n.' & $string(a % 3)",
    "$keys(a)",
    "(a + b) * c % 2",
    "$event.type & name",
    "($x := a; $x + 1)",
    "lines^(>price).sku",
]
UNNAMED = [
    "$",
    "$.a",
    "$$.a",
    "*",
    "a.*",
    "**.a",
    "a + *",
    "a and *",
    "[*]",
    "$keys($)",
    "$keys()",
    "$string()",
    "$each(function($v) {$v})",
    "$sift(function($v) {$v})",
    "$lookup('a' & 'b')",
    "$eval('a')",
    "lines.%.a",
    "a[%.b = 1]",
    "a + %",
    "'\\u0061'",
    "a ~> $sum",
    "$spread()",
    "$clone()",
    "$map(a, $string)",
    "/* a */ b",
]


@pytest.mark.parametrize("expression", NAMED)
def test_expressions_that_name_what_they_read(expression: str) -> None:
    assert names_its_members(expression)


@pytest.mark.parametrize("expression", UNNAMED)
def test_expressions_that_may_read_any_member(expression: str) -> None:
    assert not names_its_members(expression)


_more_expressions = st.one_of(
    plain_expressions,
    st.sampled_from(
        ["$sum(a.b)", "a[b = 1]", "$count(a)", "a.(b & 'x')", "a.b * c", "(a)[0]", "$append(a, b)", "[a, b]"]
    ),
    st.sampled_from(NAMED + UNNAMED),
)


@given(_more_expressions, entities, st.dictionaries(st.sampled_from(["q", "r", "zz"]), st.integers(), min_size=1))
def test_members_that_are_not_named_make_no_difference(expression: str, data: Any, others: dict[str, int]) -> None:
    if not names_its_members(expression) or not isinstance(data, dict):
        return
    whole = {**others, **data}
    members = {name: Raw(json.dumps(value).encode()) for name, value in whole.items()}
    seen = text(narrowed(dict(members), expression))
    assert same(answer(expression, seen), answer(expression, json.dumps(whole).encode()))


def answer(expression: str, entity: bytes) -> bytes | None:
    try:
        return Jsonata(expression).evaluate(entity, {"type": "t"})
    except Malformed:
        return b'"failed"'


@pytest.mark.parametrize(
    ("expression", "members"),
    [
        ("{'a': b}", {"a": " b"}),
        ('{"a": b, "c": $sum(d)}', {"a": " b", "c": " $sum(d)"}),
        ("{'a, b': c}", {"a, b": " c"}),
        ("{'a': [1, 2], 'b': {'c': 1, 'd': 2}}", {"a": " [1, 2]", "b": " {'c': 1, 'd': 2}"}),
        ("{'a': ',}', 'b': `x,}`}", {"a": " ',}'", "b": " `x,}`"}),
        ("{'a': b ? c : d}", {"a": " b ? c : d"}),
        ("\n{\n'a': b\n}\n", {"a": " b\n"}),
        ("{'a': b / 2, 'c': (d) / e}", {"a": " b / 2", "c": " (d) / e"}),
    ],
)
def test_a_constructor_is_split_into_its_members(expression: str, members: dict[str, str]) -> None:
    assert split(expression) == members


@pytest.mark.parametrize(
    "expression",
    [
        "a",
        "{}",
        "{'a': 1}.b",
        "{'a': 1} = {'a': 2}",
        "{'a': 1}[b]{'c': 2}",
        "{a: 1}",
        "{`a`: 1}",
        "{'a' & 'b': 1}",
        "{'a': 1, 'a': 2}",
        "{'a': /x/}",
        "{'a': $match(b, /,/)}",
        "{'a': b /* , */}",
        "{'a': '\\''}",
        "{'a': 1,}",
        "{'a': (1}",
        "lines{'a': 1}",
    ],
)
def test_other_expressions_are_not_split(expression: str) -> None:
    assert split(expression) is None
