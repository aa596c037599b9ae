"""The hooks of pre-commit run what `make check` runs."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = "$(BIN)/"


@pytest.fixture(scope="module")
def hooks() -> list[dict[str, Any]]:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in configuration["repos"]] == ["local"], "another source would need the network"
    found: list[dict[str, Any]] = configuration["repos"][0]["hooks"]
    return found


def linters() -> set[str]:
    """The linters of the target `check`, as commands without paths and options."""
    (recipe,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = [line.strip().removeprefix("@") for line in recipe.splitlines()]
    assert all(command.startswith(BIN) for command in commands), commands
    return {words(command.removeprefix(BIN)) for command in commands if "pure_coverage" not in command}


def words(command: str) -> str:
    return " ".join(word for word in command.split() if word not in {".", "--force-exclude"})


def test_each_linter_of_make_check_is_a_hook(hooks: list[dict[str, Any]]) -> None:
    assert {words(hook["entry"].removeprefix(".venv/bin/")) for hook in hooks} == linters()


def test_hooks_use_the_environment_of_the_project(hooks: list[dict[str, Any]]) -> None:
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)
