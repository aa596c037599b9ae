"""The Helm chart renders what each overlay does: `minimal` with its own values, the others with values files."""

import subprocess
from pathlib import Path

import pytest
import yaml

from services.standalone.embedded.process import ServerMissing
from tests.k8s.chart_values import OVERLAYS, identity, objects_of, unhash, values
from tests.k8s.helm import CHART, chart, helm
from tests.k8s.rendering import Object, overlay, with_components

pytestmark = pytest.mark.usefixtures("program")


@pytest.fixture(scope="module")
def program() -> Path:
    try:
        return helm()
    except ServerMissing as exc:
        pytest.skip(str(exc))


def _comparable(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Return the objects by kind and name, without what the two tools do differently on purpose."""
    found = {}
    for each in map(unhash, objects):  # the chart annotates pods with a hash of the settings
        each["metadata"].pop("namespace", None)
        template = each.get("spec", {}).get("template")
        if each["kind"] == "Deployment":
            template["metadata"].pop("annotations", None)
        if each["kind"] == "ConfigMap":
            each["data"] = {name: _content(name, text) for name, text in each["data"].items()}
        found[identity(each)] = each
    return found


def _content(name: str, text: str) -> object:
    return yaml.safe_load(text) if name.endswith((".yaml", ".json")) else text


def test_the_chart_renders_the_overlay_minimal() -> None:
    _assert_equal(chart(), overlay("minimal"))


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_chart_renders_the_other_overlays(name: str) -> None:
    found = chart(*values(name), "--values", objects_of(name))
    identities = [identity(each) for each in found]
    assert len(identities) == len(set(identities))
    _assert_equal(found, overlay(name))


def test_the_chart_renders_the_components_of_monitoring(tmp_path: Path) -> None:
    found = chart("--set", "monitoring.podMonitor=true,monitoring.rules=true,monitoring.dashboards=true")
    _assert_equal(
        found, with_components("overlays/minimal", ["pod-monitor", "prometheus-rules", "dashboards"], tmp_path)
    )


def test_the_chart_renders_the_component_of_the_admin_api(tmp_path: Path) -> None:
    found = chart("--set", "admin.enabled=true")
    _assert_equal(found, with_components("overlays/minimal", ["experience-admin"], tmp_path))
    alone = chart("--set", "admin.enabled=true,networkPolicies.enabled=false")
    assert "NetworkPolicy" not in {each["kind"] for each in alone}
    (volume,) = (
        volume
        for each in chart("--set", "admin.enabled=true,admin.secret=mine")
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


def test_a_change_of_settings_restarts_one_service_alone() -> None:
    def marks(*more: str) -> dict[str, str]:
        return {
            each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"]["trelay/settings"]
            for each in chart(*more)
            if each["kind"] == "Deployment"
        }

    before, after = marks(), marks("--set", "services.process-api.settings=process: {}")
    assert {name for name, mark in before.items() if after[name] != mark} == {"process-api"}
