"""The commands and requests on the page of dead letters work as they stand."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from services.cli import main
from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.requests import DecideRequest
from tests.unit.services.cli.dead_letters.test_commands import built
from tests.unit.services.cli.serving import ServiceThread

PAGE = (Path(__file__).parents[5] / "docs" / "dead-letters.md").read_text()
COMMANDS = re.findall(r"^\$ (.*?)(?: +#.*)?$", PAGE, re.MULTILINE)


@pytest.fixture
def _service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        click, "edit", lambda text, **_: text.replace('"data"', '"time": "2026-01-01T00:00:00Z", "data"')
    )
    with ServiceThread(built) as service:
        monkeypatch.setenv("TRELAY_PROCESS_URL", service.url)
        yield


@pytest.mark.usefixtures("_service")
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_does_what_the_page_says(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = line.replace("0-4711", "0-0")
    echo, _, piped = command.rpartition(" | ")
    words = shlex.split((piped or command).partition(" > ")[0])
    assert words[:2] == ["trelay", "dead-letters"]
    fixed = tmp_path / "fixed.json"
    assert main(["dead-letters", "show", "0-0", "--event"]) == 0
    fixed.write_text(capsys.readouterr().out)
    if echo:
        fixed.write_text(shlex.split(echo)[1])
        words = [str(fixed) if word == "-" else word for word in words]
    if words[2] in {"replay", "drop"}:
        words.append("--yes")
    assert main(words[1:]) == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    assert output
    if words[2] == "replay" and "0-0" in words:
        assert output.endswith("1 letter replayed\n")


def test_the_page_has_commands_and_a_request() -> None:
    assert len(COMMANDS) > 5
    (body,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    request = DecideRequest.parse(Status.REPLAYED, json.dumps(json.loads(body)).encode())
    assert request.dry_run
