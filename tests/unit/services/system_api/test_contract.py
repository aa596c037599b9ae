"""docs/sources/your-own.md, as it stands: its source, its entry point, and the contract suite that it runs."""

import re
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from services.system_api.sources.registry import GROUP, installed_kinds

PAGE = (Path(__file__).parents[4] / "docs" / "sources" / "your-own.md").read_text()


def block(file: str) -> str:
    """Return the block of the page that begins with the name of a file."""
    found = re.search(rf"```\w+\n(# {re.escape(file)}\n.*?)```", PAGE, re.DOTALL)
    assert found, file
    return found[1]


def loaded(name: str) -> Any:
    """Return the module of a block; the other blocks can import it."""
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(block(f"{name}.py"), f"your-own.md/{name}.py", "exec"), module.__dict__)  # noqa: S102 -- our own page
    return module


spool = loaded("spool")
TestSpool = loaded("test_spool").TestSpool


def test_the_source_is_short() -> None:
    lines = [line for line in block("spool.py").splitlines()[1:] if line.strip()]
    assert len(lines) < 40


def test_its_entry_point_adds_the_kind() -> None:
    project = tomllib.loads(block("pyproject.toml"))["project"]
    ((name, value),) = project["entry-points"][GROUP].items()
    assert installed_kinds([EntryPoint(name, value, GROUP)], {"file"}) == [spool.SpoolSourceKind]
