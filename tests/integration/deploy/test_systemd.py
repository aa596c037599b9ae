"""The units of systemd are valid, confined, and start what there is."""

import configparser
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.standalone.embedded.process import ServerMissing
from shared.runtime.run import SHUTDOWN_TIMEOUT
from tests.k8s.rendering import ROOT
from tests.servers.debian import need_command

UNITS = ROOT / "deploy" / "systemd"
SERVICES = ("system_api", "process_api", "experience_api")
_INSTALLED = "/opt/trelay/.venv/bin/python"


@pytest.fixture(scope="module")
def analyze() -> str:
    try:
        return need_command("systemd-analyze", "systemd")
    except ServerMissing as exc:
        pytest.skip(str(exc))


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they are after an installation, with this interpreter."""
    for path in UNITS.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace(_INSTALLED, sys.executable))
    for service in SERVICES:
        (tmp_path / f"trelay@{service}.service").write_text((tmp_path / "trelay@.service").read_text())
    return tmp_path


def _run(analyze: str, units: Path, *arguments: str) -> str:
    done = subprocess.run(
        [analyze, *arguments], capture_output=True, text=True, check=False, timeout=240, cwd=units,
        env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_units_are_valid(analyze: str, units: Path) -> None:
    names = ["trelay.target", *(f"trelay@{service}.service" for service in SERVICES)]
    assert _run(analyze, units, "verify", "--recursive-errors=no", *names) == ""


def test_a_mistake_in_a_unit_is_found(analyze: str, units: Path) -> None:
    unit = units / "trelay@system_api.service"
    unit.write_text(unit.read_text().replace("Restart=on-failure", "Restart=on-failurre"))
    with pytest.raises(AssertionError, match="on-failurre"):
        assert _run(analyze, units, "verify", "--recursive-errors=no", unit.name) == ""


def test_a_service_is_confined(analyze: str, units: Path) -> None:
    found = re.search(r"Overall exposure level.*: ([0-9.]+)", _run(
        analyze, units, "security", "--offline=yes", "--no-pager", "--threshold=20", "trelay@experience_api.service"
    ))  # fmt: skip
    assert found is not None
    assert float(found[1]) < 2.0


def test_a_unit_starts_each_service_and_waits_for_its_drain() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(UNITS / "trelay@.service")
    assert "-m services.%i " in unit["Service"]["ExecStart"]
    assert all(importlib.util.find_spec(f"services.{service}.__main__") for service in SERVICES)
    assert float(unit["Service"]["TimeoutStopSec"]) > SHUTDOWN_TIMEOUT + 2


def test_a_service_that_fails_at_once_is_started_without_end() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(UNITS / "trelay@.service")
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Unit"].get("StartLimitIntervalSec") == "0"
