"""The network policies of each overlay allow exactly the edges of the design."""

import itertools
from pathlib import Path

import pytest

from tests.k8s.network import Pod, allows
from tests.k8s.rendering import OVERLAYS, of_kind, overlay, with_component

COMPONENT = "app.kubernetes.io/component"
PORTS = {"subscribers": 8080, "operators": 8081, "http": 8082, "health": 9090, "postgresql": 5432, "clients": 9092}


def _pod(name: str, port: str | None = None, **labels: str) -> Pod:
    ports = {key: PORTS[key] for key in ((port, "health") if port else ())}
    return Pod(name, {COMPONENT: name, **labels}, ports=ports)


SYSTEM, PROCESS = _pod("system-api", "operators"), _pod("process-api", "http")
EXPERIENCE, CLI = _pod("experience-api", "subscribers"), _pod("cli")
POSTGRESQL, KAFKA = _pod("postgresql", "postgresql"), _pod("kafka", "clients")
CNPG = Pod("cnpg", {"cnpg.io/cluster": "trelay-postgresql"})
STRIMZI = Pod("strimzi", {"strimzi.io/cluster": "trelay"})
STRANGER = Pod("stranger", {"app": "other"})
SUBSCRIBER = Pod("subscriber", {"trelay/subscriber": "true"})
ELSEWHERE = Pod("elsewhere", {"trelay/subscriber": "true"}, namespace="default")
GATEWAY = Pod("gateway", namespace="gateway-system", namespace_labels={"trelay/gateway": "true"})
PROMETHEUS = Pod("prometheus", namespace="monitoring", namespace_labels={"trelay/monitoring": "true"})
DNS = Pod("dns", {"k8s-app": "kube-dns"}, namespace="kube-system")
OUTSIDE = Pod("outside", namespace=None, address="198.51.100.7")
UPSTREAM = Pod("upstream", namespace=None, address="192.0.2.10")
METADATA = Pod("metadata", namespace=None, address="169.254.169.254")

EVERYONE = (
    SYSTEM, PROCESS, EXPERIENCE, CLI, POSTGRESQL, KAFKA, CNPG, STRIMZI, STRANGER, SUBSCRIBER, ELSEWHERE, GATEWAY,
    PROMETHEUS, DNS, OUTSIDE, UPSTREAM, METADATA,
)  # fmt: skip
OURS = (SYSTEM, PROCESS, EXPERIENCE, CLI)
TARGET_PORTS = (53, 80, 443, 5432, 8080, 8081, 8082, 9090, 9092, 9093)

ANYWHERE = (OUTSIDE, UPSTREAM, DNS, GATEWAY, PROMETHEUS, ELSEWHERE)

Edge = tuple[str, str, int]

BASE: set[Edge] = {
    *((pod.name, "dns", 53) for pod in OURS),
    ("gateway", "experience-api", 8080),
    ("cli", "system-api", 8081),
    ("cli", "process-api", 8082),
    *(("prometheus", pod.name, 9090) for pod in (SYSTEM, PROCESS, EXPERIENCE)),
}

EDGES: dict[str, set[Edge]] = {
    # The user's database is at an address that is not known here: any one but the metadata service of a cloud. In the
    # namespace itself nothing lets them in.
    "minimal": BASE | {(pod.name, target.name, 5432) for pod in OURS for target in ANYWHERE},
    "local": BASE
    | {(pod, "postgresql", 5432) for pod in ("system-api", "experience-api", "cli")}
    | {(pod.name, "kafka", 9092) for pod in OURS},
    "production": BASE
    | {(pod, "cnpg", 5432) for pod in ("system-api", "experience-api", "cli")}
    | {(pod.name, "strimzi", 9093) for pod in OURS}
    | {("system-api", "upstream", 443), ("system-api", "upstream", 5432)},
}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_edges_are_exactly_those_of_the_design(name: str) -> None:
    """The operators' own pods (Strimzi's, CloudNativePG's) connect to each other as their operators say."""
    policies = list(of_kind(overlay(name), "NetworkPolicy").values())
    found = {
        (source.name, target.name, port)
        for source, target in itertools.product((*OURS, STRANGER, ELSEWHERE, GATEWAY, PROMETHEUS, OUTSIDE), EVERYONE)
        for port in TARGET_PORTS
        if source is not target and allows(policies, source, target, port, "UDP" if port == 53 else "TCP")
        # What other namespaces let each other do is not ours.
        if "trelay" in {source.namespace, target.namespace}
    }
    assert found == EDGES[name]


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_subscriber_in_the_namespace_reaches_the_experience_layer_alone(name: str) -> None:
    """Its own egress is its own policy's: what the namespace denies by default applies to it."""
    policies = list(of_kind(overlay(name), "NetworkPolicy").values())
    with_egress = [policy for policy in policies if "Egress" not in policy["spec"]["policyTypes"]]
    assert allows(with_egress, SUBSCRIBER, EXPERIENCE, 8080)
    for target in (SYSTEM, PROCESS):
        assert not any(allows(with_egress, SUBSCRIBER, target, port) for port in TARGET_PORTS)
    assert not allows(with_egress, ELSEWHERE, EXPERIENCE, 8080), "the label counts in this namespace alone"


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_removed_policy_is_noticed(name: str) -> None:
    """Without the policy that denies by default, a stranger in the namespace reaches everything that is open to it."""
    policies = of_kind(overlay(name), "NetworkPolicy")
    assert not allows(policies.values(), STRANGER, OUTSIDE, 443)
    del policies["default-deny"]
    assert allows(policies.values(), STRANGER, OUTSIDE, 443)


def test_only_services_reach_a_collector_and_nothing_else_of_its_namespace(tmp_path: Path) -> None:
    policies = list(of_kind(with_component("telemetry", tmp_path), "NetworkPolicy").values())
    for policy in policies:
        policy["metadata"]["namespace"] = "trelay"  # an overlay sets it
    for source in (SYSTEM, PROCESS, EXPERIENCE):
        assert [port for port in (*TARGET_PORTS, 4318) if allows(policies, source, PROMETHEUS, port)] == [4318]
        assert not allows(policies, source, OUTSIDE, 4318)
    assert not allows(policies, CLI, PROMETHEUS, 4318)
