import json
from pathlib import Path

import pytest
import yaml

from services.cli import main


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "trelay.yaml"
    path.write_text("system: {listen: {port: 9000}}\nprocess: {}\n")
    return str(path)


def test_changed_settings_alone(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--config", file, "--changed"]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown) == {"system": {"listen": {"port": 9000}}}
    assert shown.endswith(f"  # {file}:1:19\n")


def test_a_part_as_json(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--config", file, "--section", "system.listen", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"path": "system.listen.port", "value": 9000, "origin": f"{file}:1:19"} in found
    assert {"path": "system.listen.host", "value": "127.0.0.1", "origin": "default"} in found
    assert all(value["path"].startswith("system.listen.") for value in found)


def test_a_part_that_there_is_not(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--config", file, "--section", "system.listn"]) == 2
    assert "found 'system.listn'; expected a path" in capsys.readouterr().err


def test_a_file_with_a_fault_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("system: {lisen: {}}\n")
    assert main(["config", "show", "--config", str(tmp_path / "bad.yaml")]) == 2
    assert "bad.yaml:1:10: system.lisen" in capsys.readouterr().err


def test_the_defaults_pass_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "default"]) == 0
    path = tmp_path / "default.yaml"
    path.write_text(capsys.readouterr().out)
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: OK\n"
