"""Expressions whose results in the reference implementation are known: `reference/results.json` names its version.

`reference/generate.mjs` writes that file. Each difference is decided here, and stands in docs/expressions.md.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Malformed
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression

REFERENCE = json.loads((Path(__file__).parent / "reference" / "results.json").read_text())
DATA = json.dumps(REFERENCE["data"]).encode()
RESULTS: dict[str, Any] = REFERENCE["results"]

DECIDED = {
    "a result that is not finite is an error": [
        "1/0", "1e308 * 10", "-1e308 * 10", "10 % 0", "[1/0]", '{"x": 1/0}', "$sum([1e308, 1e308])",
        "$average([1e308, 1e308])", '$parseInteger("", "0")',
    ],
    "inside an expression, such a number is allowed": ["$boolean(1/0)", '$formatNumber(1/0, "0")'],
    "a character above U+FFFF is one, and not two halves": [
        '$split("😀a", "")', '$string($match("a😀b", /./).match)', '"😀" < "\\uffff"',
    ],
    "regular expressions do not look around": ['$replace("abc", /(?<=a)b/, "x")'],
    "text becomes a number in more forms": ['$number("+5")', '$number(".5")', '$number("5.")', '$number(" 12 ")'],
    "all characters but those of RFC 3986 are encoded": ['$encodeUrlComponent("a b+c/d\'e(f)*!~")'],
    "a space of a URL stays": ['$encodeUrl("http://x/?q=a b")'],
    "nothing is reduced to null": ["$reduce([], function($a, $b) { $a + $b })"],
    "a fraction of a millisecond is an error": ["$fromMillis(1772323200123.9)"],
    "a date that does not exist is an error": ['$toMillis("2026-02-30")'],
    "base64 is of UTF-8": ['$base64encode("ü")'],
    "a range is an index without brackets of its own": ["numbers[0..1]"],
}  # fmt: skip
"""By decision: the expressions that differ."""

DIFFERENT = {expression for expressions in DECIDED.values() for expression in expressions}


def evaluated(expression: str) -> Any:
    try:
        found = Expression(expression).value(JsonDocument(DATA))
    except (Malformed, ValueError):
        return "error"
    return "undefined" if found is None else {"value": json.loads(found)}


def agree(one: Any, other: Any) -> bool:
    """Whether two results are equal; the last digits of a double may differ."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(agree, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(agree(one[name], other[name]) for name in one)
    return bool(one == other)


def is_that_of_the_reference(expression: str) -> bool:
    expected, found = RESULTS[expression], evaluated(expression)
    return found in expected if isinstance(found, str) else agree(expected, found)


def test_results_are_those_of_the_reference_but_for_the_decided_differences() -> None:
    assert len(RESULTS) > 500
    assert {expression for expression in RESULTS if not is_that_of_the_reference(expression)} == DIFFERENT


@pytest.mark.parametrize("name", ["error", "undefined"])
def test_the_results_of_the_reference_are_of_every_kind(name: str) -> None:
    assert sum(name in result for result in RESULTS.values()) > 30
