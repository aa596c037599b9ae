"""docs/observability.md names the parts, the log messages and the metrics that every service has."""

import ast
import re
from pathlib import Path

import pytest

from services.experience_api import app as experience
from services.process_api import app as process
from services.system_api import app as system
from shared.composition.settings_metrics import SETTINGS_FILE, show_settings_file
from shared.http.server import Health
from shared.runtime.reloading import SettingsFile
from shared.settings import Options

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text()
LOGGING = ("shared/runtime/run.py", "shared/runtime/tasks.py", "shared/http/health.py", "shared/http/problem.py",
           "shared/http/tls.py")  # fmt: skip


DESCRIBED = ("services/experience_api", "shared")
"""Folders all of whose messages are described."""


def rows(heading: str) -> set[str]:
    """The names in the first column of the tables below a heading."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def messages(path: str) -> set[str]:
    """The constant messages that a module logs."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger")), args=[ast.Constant(value=str(message)), *_]):
                found.add(message)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logger"))):
                pytest.fail(f"{path}:{node.lineno}: a message is constant")
            case _:
                pass
    return found


def test_every_part_of_readyz_is_described() -> None:
    parts = {
        system.LEASE_STORE, system.BUS, process.BUS, experience.REGISTRY, experience.LEASE, experience.BUS,
        experience.STREAM, experience.NOTICES, SETTINGS_FILE,
    }  # fmt: skip
    assert rows("Readiness") == parts | {"source/<name>", "mail", "notify/<service>"}


@pytest.mark.parametrize("path", LOGGING)
def test_every_message_about_the_process_is_described(path: str) -> None:
    assert messages(path) <= rows("Logs")


@pytest.mark.parametrize("folder", DESCRIBED)
def test_every_message_of_a_layer_is_described(folder: str) -> None:
    paths = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py"))
    found = {message for path in paths for message in constant_messages(path)}
    assert found
    assert found - rows("Logs") == set()


def constant_messages(path: str) -> set[str]:
    """The messages from info on that stand as text where they are logged."""
    return {
        str(node.args[0].value)
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "logger"
        and node.func.attr != "debug"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_common_metric_is_described() -> None:
    health = Health("test")
    show_settings_file(SettingsFile(Options(), lambda _files: Options()), health)
    names = {metric.name for metric in health.registry.collect()}
    own = {name for name in names if name.startswith("trelay_")} | {"trelay_build_info"}
    assert own <= rows("Metrics")


@pytest.mark.parametrize("path", LOGGING)
def test_messages_are_short_and_lower_case_without_a_final_stop(path: str) -> None:
    for message in messages(path):
        assert re.fullmatch(r"[a-z][^%{}]*[a-z0-9]", message), message
