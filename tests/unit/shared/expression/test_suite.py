"""The official test suite of JSONata on Trelay's expressions. Each difference is decided here.

What jsonatapy refuses when it compiles, and names that `trelay check` refuses, count as the errors that a case expects.
"""

import json
from collections.abc import Mapping
from typing import Any

from shared.errors import Malformed
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.expression.nodes import Raw
from shared.expression.settings import check_expression
from tests.unit.shared.expression.suite.condense import CASES, DATASETS
from tests.unit.shared.expression.test_reference import agree

DATA: dict[str, Any] = json.loads(DATASETS.read_text())
SUITE: list[dict[str, Any]] = [json.loads(line) for line in CASES.read_text().splitlines()]

DECIDED = {
    "`trelay check` refuses a variable that does not exist": [
        "comparison-operators/case027", "comparison-operators/case028", "missing-paths/case005",
    ],
    "a sequence has at most a million items": ["range-operator/case021", "range-operator/case024"],
    "the depth of a recursion is limited by time and memory alone": ["tail-recursion/case002"],
}  # fmt: skip
"""By decision, which stands in docs/expressions.md: the cases that differ."""

DIFFERENT = {name for names in DECIDED.values() for name in names}


class Nothing:
    """An event without an entity."""

    def data(self) -> None:
        """The root is undefined."""

    def data_text(self) -> None:
        """The root is undefined."""

    def attributes(self) -> Mapping[str, Raw]:
        """Return no attributes."""
        return {}


def evaluated(case: Mapping[str, Any]) -> Any:
    """Return what an expression gives: a list of its value, an empty one for undefined, or the text of an error."""
    values = "".join(f"${name} := {json.dumps(value)}; " for name, value in case.get("bindings", {}).items())
    expression = f"({values}{case['expr']}\n)" if values else case["expr"]
    data = DATA[case["dataset"]] if "dataset" in case else case.get("data")
    given = {"data", "dataset"} & case.keys()
    try:
        check_expression(expression)
        found = Expression(expression).value(JsonDocument(json.dumps(data).encode()) if given else Nothing())
    except (Malformed, ValueError) as exc:
        return str(exc)
    return [] if found is None else [json.loads(found)]


def sorted_members(value: Any) -> Any:
    """Return a value whose objects have their members in one order: JavaScript puts those named by numbers first."""
    if isinstance(value, list):
        return [sorted_members(each) for each in value]
    return {name: sorted_members(value[name]) for name in sorted(value)} if isinstance(value, dict) else value


def passes(case: Mapping[str, Any]) -> bool:
    found = evaluated(case)
    if "error" in case or isinstance(found, str):
        return isinstance(found, str) and "error" in case
    expected = [] if case.get("undefinedResult") else [case["result"]]
    if case.get("unordered"):
        found, expected = sorted(found[0], key=json.dumps), sorted(expected[0], key=json.dumps)
    return agree(sorted_members(found), sorted_members(expected))


def test_the_official_cases_pass_but_for_the_decided_differences() -> None:
    assert len(SUITE) == 1665
    assert {case["name"] for case in SUITE if not passes(case)} == DIFFERENT


def test_the_comparison_finds_other_results() -> None:
    for case in (
        {"expr": "1 + 1", "result": 3},
        {"expr": "1 + 1", "undefinedResult": True},
        {"expr": "1 + 1", "error": "T2001"},
        {"expr": "missing", "result": None},
        {"expr": "1 + 'a'", "result": 1},
        {"expr": "$x", "bindings": {"x": [1, 2]}, "result": [2, 1]},
        {"expr": "$x", "bindings": {"x": [1, 2]}, "unordered": True, "result": [2, 2]},
    ):
        assert not passes(case), case
    assert passes({"expr": "$x", "bindings": {"x": [1, 2]}, "unordered": True, "result": [2, 1]})
