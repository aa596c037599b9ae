"""Every alert has a section in docs/runbooks, and the commands there exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from services.cli.command import trelay
from tests.k8s.rendering import ROOT
from tests.monitoring.rules import alerts

RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
_COMMAND = re.compile(r"^(trelay .+)$|`(trelay [^`]+)`", re.MULTILINE)


def _commands(text: str) -> list[str]:
    return [line or inline for line, inline in _COMMAND.findall(text)]


COMMANDS = sorted({command for path in RUNBOOKS.glob("*.md") for command in _commands(path.read_text())})


def _sections(path: Path) -> set[str]:
    return {heading.lower() for heading in re.findall(r"^## (\w+)$", path.read_text(), re.MULTILINE)}


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    wanted = {alert["annotations"]["runbook"] for alert in alerts()}
    there = {f"docs/runbooks/{path.name}#{section}" for path in PAGES for section in _sections(path)}
    assert there == wanted


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_section_says_what_to_do(path: Path) -> None:
    for section in re.split(r"^## ", path.read_text(), flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        assert "**Meaning.**" in text, name
        assert "**Do.**" in text or "See [" in text or "go to" in text or "| cause |" in text, name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_a_runbook_exists(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words and options are parsed by the command itself, which does not run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trelay.yaml").touch()
    _, *words = shlex.split(re.split(r"\s{3,}", command)[0])  # what follows is a remark
    group: click.Command = trelay
    # With the names of its help option: click keeps the option that a command is first given.
    context = click.Context(trelay, info_name="trelay", **trelay.context_settings)
    while isinstance(group, click.Group):
        name, found, words = group.resolve_command(context, words)
        assert found is not None
        group, context = found, click.Context(found, info_name=name, parent=context)
    if words != ["--help"]:
        group.make_context(group.name, words, parent=context.parent)


def test_commands_are_found() -> None:
    assert _commands("text `trelay check x` and\n```\ntrelay sources list\n```\n") == [
        "trelay check x", "trelay sources list",
    ]  # fmt: skip
    assert len(COMMANDS) > 10
