"""No module of ours loses what another task has set while this one waited."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    path for folder in ("services", "shared", "clients/python/trelay_client") for path in (ROOT / folder).rglob("*.py")
]


def misplaced(tree: ast.AST) -> Iterator[int]:
    """Yield the lines of `x.y += await z`: Python reads `x.y`, then waits, and then assigns what it has read."""
    for node in ast.walk(tree):
        match node:
            case ast.AugAssign(target=ast.Attribute() | ast.Subscript(), value=value):
                if any(isinstance(each, ast.Await) for each in ast.walk(value)):
                    yield node.lineno
            case _:
                pass


@pytest.mark.parametrize("statement", ["self.found += await read()", "self.found[1] |= {**await read()}"])
def test_such_a_statement_is_found(statement: str) -> None:
    assert list(misplaced(ast.parse(f"async def f(self):\n    {statement}"))) == [2]


def test_nothing_is_read_before_a_wait_and_assigned_behind_it() -> None:
    found = {str(path.relative_to(ROOT)): list(misplaced(ast.parse(path.read_text()))) for path in MODULES}
    assert len(found) > 500
    assert {path: lines for path, lines in found.items() if lines} == {}
