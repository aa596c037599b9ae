"""The rules of Prometheus: they are current, valid, tested, and select what the services export."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.standalone.embedded.process import ServerMissing
from tests.monitoring import promql
from tests.monitoring.rules import FOLDER, alerts, files, rules
from tests.servers.debian import need_command


@pytest.fixture(scope="module")
def promtool() -> str:
    try:
        return need_command("promtool", "prometheus")
    except ServerMissing as exc:
        pytest.skip(str(exc))


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_the_files_are_current(path: Path) -> None:
    assert path.read_text() == files()[path], "run `python -m tests.monitoring.rules`"


@pytest.mark.parametrize("name", ["objectives", "alerts"])
def test_the_rules_are_valid(promtool: str, name: str) -> None:
    _run(promtool, "check", "rules", FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("path", sorted((FOLDER / "tests").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_rules_fire_as_they_should(promtool: str, path: Path) -> None:
    _run(promtool, "test", "rules", path)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_selects_what_the_services_export(rule: dict[str, Any]) -> None:
    assert list(promql.faults(rule["expr"])) == []
    assert promql.selected(rule["expr"]) or "trelay:" in rule["expr"]


def test_faults_of_a_selection_are_found() -> None:
    assert list(promql.faults("rate(trelay_system_pols_total[5m])")) == ["trelay_system_pols_total is not exported"]
    found = promql.faults('trelay_system_source_state{state=~"down|dwn", sorce="orders"}')
    assert list(found) == [
        "trelay_system_source_state: state is never dwn",
        "trelay_system_source_state has no label sorce",
    ]


def test_a_recorded_series_is_no_metric_of_a_service() -> None:
    assert promql.selected("avg_over_time(trelay:process_behind:bool[1h])") == set()


def test_an_alert_says_what_people_need() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}, alert["alert"]
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}, alert["alert"]
