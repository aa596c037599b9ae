"""The command line of the single machine, and what it says."""

from importlib.metadata import version
from pathlib import Path

import pytest

from services.standalone.one_process import Command, read_command


def test_the_environment_sets_port_and_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = read_command([], {"TRELAY_PORT": "9000", "TRELAY_DATA": str(tmp_path)})
    assert command == Command(tmp_path, 9000, None)


def test_the_command_line_overrides_the_environment(tmp_path: Path) -> None:
    command = read_command(
        ["--port", "0", "--config", "my.yaml"], {"TRELAY_PORT": "9000", "TRELAY_DATA": str(tmp_path)}
    )
    assert (command.port, command.settings) == (0, Path("my.yaml"))


def test_the_settings_file_may_stand_in_the_environment() -> None:
    environment = {"TRELAY_CONFIG": "my.yaml"}
    assert read_command([], environment).settings == Path("my.yaml")
    assert read_command(["--config", "other.yaml"], environment).settings == Path("other.yaml")
    assert read_command([], {"TRELAY_CONFIG": ""}).settings is None


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_command(["--version"], {})
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"trelay {version('trelay')}\n"


def test_without_either_it_is_8080_and_var() -> None:
    assert read_command([], {"TRELAY_PORT": "", "TRELAY_DATA": ""}) == Command(Path("var").resolve(), 8080, None)


@pytest.mark.parametrize("port", ["ninety", "70000", "-1", "٣"])
def test_a_port_that_is_none_is_refused_in_words(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_command([], {"TRELAY_PORT": port})
    assert ended.value.code == 2
    assert port in capsys.readouterr().err
