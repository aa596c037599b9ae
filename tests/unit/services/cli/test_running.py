from pathlib import Path

import pytest

from services.cli import main
from services.standalone import one_process
from services.standalone.one_process import Command

HERE = Path.cwd()


@pytest.mark.parametrize(
    ("arguments", "environment", "command"),
    [
        ([], {}, Command(HERE / "var", 8080, None)),
        (["--port", "0", "--data", "/d", "-c", "f"], {}, Command(Path("/d"), 0, Path("f"))),
        ([], {"TRELAY_CONFIG": "f"}, Command(HERE / "var", 8080, Path("f"))),
        (["-c", "g"], {"TRELAY_CONFIG": "f"}, Command(HERE / "var", 8080, Path("g"))),
        ([], {"TRELAY_CONFIG": ""}, Command(HERE / "var", 8080, None)),
        ([], {"TRELAY_DATA": "/e", "TRELAY_PORT": "9000"}, Command(Path("/e"), 9000, None)),
    ],
)
def test_it_runs_with_its_options_and_returns_the_exit_status(
    arguments: list[str], environment: dict[str, str], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Command] = []

    def run_standalone(command: Command) -> int:
        commands.append(command)
        return 7

    monkeypatch.setattr(one_process, "run_standalone", run_standalone)
    for name in ("TRELAY_CONFIG", "TRELAY_DATA", "TRELAY_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["run", *arguments]) == 7
    assert commands == [command]


@pytest.mark.parametrize("port", ["many", "-1", "65536"])
def test_a_port_is_a_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--port", port]) == 2
    assert "'--port'" in capsys.readouterr().err
