"""The messages for the reader of a terminal."""

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from services.standalone.terminal import as_typed, command_typed, welcome


def said(folder: Path, *, demo: bool = True) -> list[str]:
    settings = folder / "examples" / "t.yaml"
    url, sources, process = (f"http://127.0.0.1:{port}" for port in (9000, 9001, 9002))
    return welcome(url, sources, process, settings, folder, "--data /d", demo=demo).splitlines()


def test_the_welcome_is_one_line_and_commands_that_name_the_right_address() -> None:
    first, *rest = said(Path("/d"))
    assert first.startswith("Trelay is ready: ws://127.0.0.1:9000/ws/publish")
    assert first.endswith("http://127.0.0.1:9001/sources, http://127.0.0.1:9002/pipelines")
    assert any(line.endswith("dead-letters counts --url http://127.0.0.1:9002") for line in rest)
    assert any("trelay subscribe http://127.0.0.1:9000" in line for line in rest)
    assert any("/d/examples/sensors.ndjson" in line for line in rest)
    assert any("clients add" in line and line.endswith(" --data /d") for line in rest)


def test_without_the_examples_there_is_no_demo_client_to_name() -> None:
    lines = said(Path("/d"), demo=False)
    assert not [line for line in lines if "demo" in line or "examples/drop" in line]
    assert any("clients add billing" in line for line in lines)
    assert any(line.endswith("dead-letters counts --url http://127.0.0.1:9002") for line in lines)
    assert any("subscribe http://127.0.0.1:9000 --client-id billing" in line for line in lines)


def test_logs_that_are_not_on_the_terminal_are_named() -> None:
    settings, folder = Path("/d/t.yaml"), Path("/d")
    text = welcome("http://a", "http://b", "http://c", settings, folder, "--data /d", demo=True, logs="/d/*.log")
    assert "Data: /d. Logs: /d/*.log. Try" in text
    assert "Logs" not in said(folder)[1]


def test_its_commands_can_be_pasted_for_any_folder_name() -> None:
    folder = Path("/it's a; folder")
    copy = next(line for line in said(folder) if line.startswith("    cp "))
    assert shlex.split(copy) == [
        "cp",
        "services/standalone/data/examples/drop/stock-monday.csv",
        f"{folder}/examples/drop/stock-again.csv",
    ]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a virtual environment, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "trelay"):
        (programs / name).touch(mode=0o755)
    return programs


def test_the_command_is_typed_as_the_program_was_started(installed: Path) -> None:
    python, trelay = str(installed / "python"), str(installed / "trelay")
    assert command_typed(trelay, python, search="/nowhere") == ".venv/bin/trelay"
    assert command_typed("services/standalone/__main__.py", python, search="/nowhere") == ".venv/bin/trelay"
    assert command_typed(trelay, python, search=str(installed)) == "trelay"


def test_without_a_script_the_command_is_run_by_python(installed: Path) -> None:
    (installed / "trelay").unlink()
    typed = command_typed("services/cli/__main__.py", str(installed / "python"), search="/nowhere")
    assert typed == ".venv/bin/python -m services.cli"


def test_a_path_is_short_below_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert as_typed(tmp_path / "var") == "var"
    assert as_typed(Path("/elsewhere")) == "/elsewhere"


TALKING = """
import signal
from services.standalone.terminal import say
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append("stop"))
while not told:
    say("x" * 10_000)
say("more")
"""


def test_a_closed_output_stops_it_without_an_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TALKING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(30) == 0


def test_a_closed_terminal_stops_it_without_an_error() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", TALKING], stdout=theirs, stderr=subprocess.PIPE, env=dict(os.environ)
    ) as program:
        os.close(theirs)
        os.read(ours, 1)
        os.close(ours)
        assert program.stderr is not None
        assert program.stderr.read() == b""
        assert program.wait(30) == 0
