"""What docs/architecture.md takes from the code: the table of the folders.

`python -m tests.architecture` writes it; `tests/unit/test_architecture.py` checks that it is up to date.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
SOURCES = ("services", "shared", "clients/python")
LISTED_DEPTH = 2
"""Folders below `services` and `shared` that have a row; deeper ones are found from there."""

_TABLE = re.compile(r"(<!-- folders: [^\n]* -->\n).*?(<!-- end -->)", re.DOTALL)
_SENTENCE = re.compile(r"^(.*?[.])(?:\s|$)", re.DOTALL)


def rows(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield each package, as a folder, with the first sentence of its docstring."""
    for source in SOURCES:
        for init in sorted((root / source).rglob("__init__.py")):
            folder = init.parent.relative_to(root / source)
            if 0 < len(folder.parts) <= LISTED_DEPTH:
                yield f"{source}/{folder.as_posix()}/", sentence(init)


def sentence(init: Path) -> str:
    """Return the first sentence of a package's docstring, on one line."""
    found = _SENTENCE.match(ast.get_docstring(ast.parse(init.read_text())) or "")
    assert found is not None, f"{init}: the docstring does not begin with a sentence"
    return " ".join(found[1].split())


def written(page: str) -> str:
    """Return the page with the table as it should be."""
    lines = ["| folder | what lives there |", "|---|---|", *(f"| `{folder}` | {text} |" for folder, text in rows())]
    table = "\n".join(lines)
    changed, count = _TABLE.subn(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", page)
    assert count == 1, f"{PAGE}: no place for the table of folders"
    return changed


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.exit()
