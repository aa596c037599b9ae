"""The map of ASVS requirements names tests that exist, and each requirement once."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/operations/asvs.md").read_text()
_ROW = re.compile(r"^\| ([0-9., ]+) \| (.+) \|$", re.MULTILINE)
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")

ROWS = _ROW.findall(PAGE[: PAGE.index("## Not met")])
NAMED = sorted({(file, name) for _, rest in ROWS for file, name in _NAMED.findall(rest)})


def test_every_requirement_has_a_test() -> None:
    assert len(ROWS) > 70
    assert not [requirements for requirements, rest in ROWS if not _NAMED.search(rest)]


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}-{name}" for file, name in NAMED])
def test_a_test_that_the_page_names_exists(file: str, name: str) -> None:
    found = ast.walk(ast.parse((TESTS / file).read_text()))
    assert name in {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_numbers_are_those_of_requirements() -> None:
    numbers = [number for requirements, _ in _ROW.findall(PAGE) for number in requirements.split(", ")]
    assert all(re.fullmatch(r"([1-9]|1[0-7])\.[1-8]\.([1-9]|1[0-2])", number) for number in numbers)
