"""The Helm chart with its own values renders what the overlay `minimal` does."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.standalone.embedded.process import ServerMissing
from tests.k8s.helm import helm
from tests.k8s.rendering import ROOT, Object, documents, overlay, with_components

CHART = ROOT / "deploy" / "helm" / "trelay"
HASH = re.compile(r"-settings-[a-z0-9]{10}$")


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return helm()
    except ServerMissing as exc:
        pytest.skip(str(exc))


def _rendered(program: Path, *more: str) -> list[Object]:
    command = [str(program), "template", "trelay", str(CHART), "--namespace", "trelay", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    return documents(done.stdout)


def _comparable(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Return the objects by kind and name, without what the two tools do differently on purpose."""
    found = {}
    for each in objects:
        each["metadata"].pop("namespace", None)
        _unhash(each)
        template = each.get("spec", {}).get("template")
        if template:
            template["metadata"].pop("annotations", None)
        if each["kind"] == "ConfigMap":
            each["data"] = {name: yaml.safe_load(text) for name, text in each["data"].items()}
        found[each["kind"], each["metadata"]["name"]] = each
    return found


def _unhash(value: Any) -> None:
    """Kustomize puts a hash into the names of ConfigMaps; the chart annotates pods with one."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, str):
            value[key] = HASH.sub("-settings", item)
        elif isinstance(item, dict | list):
            _unhash(item)


def test_the_chart_renders_the_overlay_minimal(program: Path) -> None:
    _assert_equal(_rendered(program), overlay("minimal"))


def test_the_chart_renders_the_components_of_monitoring(program: Path, tmp_path: Path) -> None:
    found = _rendered(program, "--set", "monitoring.podMonitor=true,monitoring.rules=true,monitoring.dashboards=true")
    _assert_equal(
        found, with_components("overlays/minimal", ["pod-monitor", "prometheus-rules", "dashboards"], tmp_path)
    )


def test_the_chart_renders_the_component_of_the_admin_api(program: Path, tmp_path: Path) -> None:
    found = _rendered(program, "--set", "admin.enabled=true")
    _assert_equal(found, with_components("overlays/minimal", ["experience-admin"], tmp_path))
    alone = _rendered(program, "--set", "admin.enabled=true,networkPolicies.enabled=false")
    assert "NetworkPolicy" not in {each["kind"] for each in alone}
    (volume,) = (
        volume
        for each in _rendered(program, "--set", "admin.enabled=true,admin.secret=mine")
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "experience-api")
        for volume in each["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "operators"
    )
    assert volume["secret"]["secretName"] == "mine"


def _assert_equal(rendered: list[Object], objects: list[Object]) -> None:
    found, expected = _comparable(rendered), _comparable(objects)
    del expected["Namespace", "trelay"]  # `helm install --create-namespace` makes it
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == value, key


def test_the_chart_is_clean(program: Path) -> None:
    done = subprocess.run(
        [program, "lint", "--strict", CHART], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout


def test_a_change_of_settings_restarts_one_service_alone(program: Path) -> None:
    def marks(*more: str) -> dict[str, str]:
        return {
            each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"]["trelay/settings"]
            for each in _rendered(program, *more)
            if each["kind"] == "Deployment"
        }

    before, after = marks(), marks("--set", "services.process-api.settings=process: {}")
    assert {name for name, mark in before.items() if after[name] != mark} == {"process-api"}
