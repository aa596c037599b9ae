"""docs/expressions.md: each row of its tables is true."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Malformed
from shared.expression import names
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression

PAGE = (Path(__file__).parents[4] / "docs" / "expressions.md").read_text()
_found = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
assert _found is not None
ENTITY = _found[1].encode()
EXAMPLES, DIFFERENCES = (
    [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
)


def code(cell: str) -> str:
    """Return what stands between the backquotes of a cell."""
    marks = "``" if cell.startswith("``") else "`"
    return cell.strip("|").strip().removeprefix(marks).removesuffix(marks).strip()


def evaluated(expression: str) -> Any:
    """Return the value, or why there is none."""
    if names.unknown(expression):
        return "refused by `trelay check`"
    try:
        value = Expression(expression).value(JsonDocument(ENTITY))
    except Malformed:
        return "error"
    return "undefined" if value is None else json.loads(value)


def expected(cell: str) -> Any:
    return json.loads(code(cell)) if cell.startswith("`") else cell


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row[0])
def test_the_examples_are_true(row: list[str]) -> None:
    expression, value = row
    assert evaluated(code(expression)) == expected(value)


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row[0])
def test_the_differences_are_true_and_the_alternatives_work(row: list[str]) -> None:
    expression, reference, here, instead = row if len(row) == 4 else [*row, ""]
    assert evaluated(code(expression)) == expected(here)
    if code(instead) and (reference.startswith("`") or reference == "undefined"):
        assert evaluated(code(instead)) == expected(reference)


def test_the_tables_have_rows() -> None:
    assert len(EXAMPLES) > 25
    assert len(DIFFERENCES) == 14
