"""The evaluator of network policies."""

from typing import Any

import pytest

from tests.k8s.network import Pod, allows, selects

A, B = Pod("a", {"app": "a"}), Pod("b", {"app": "b"}, ports={"web": 80})
FAR = Pod("far", {"app": "a"}, namespace="far", namespace_labels={"team": "x"})
NEAR_ADDRESS = Pod("o", namespace=None, address="192.0.2.1")


def _policy(selector: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "trelay"}, "spec": {"podSelector": selector, **spec}}


def _from(*peers: dict[str, Any], ports: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return _policy({"matchLabels": {"app": "b"}}, ingress=[{"from": list(peers), "ports": ports or []}])


def test_without_policies_everything_is_allowed() -> None:
    assert allows([], A, B, 80)


def test_a_policy_without_rules_denies() -> None:
    assert not allows([_policy({}, policyTypes=["Ingress"])], A, B, 80)
    assert not allows([_policy({}, policyTypes=["Egress"])], A, B, 80)
    assert allows([_policy({"matchLabels": {"app": "c"}}, policyTypes=["Ingress"])], A, B, 80)


def test_policy_types_default_to_what_the_policy_has() -> None:
    assert not allows([_policy({"matchLabels": {"app": "a"}}, egress=[])], A, B, 80)
    assert allows([_policy({"matchLabels": {"app": "a"}})], A, B, 80), "ingress of a only"


@pytest.mark.parametrize(
    ("peer", "source", "allowed"),
    [
        ({"podSelector": {"matchLabels": {"app": "a"}}}, A, True),
        ({"podSelector": {"matchLabels": {"app": "a"}}}, FAR, False),
        ({"namespaceSelector": {}}, FAR, True),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, FAR, True),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, FAR, False),
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "far"}}, "podSelector": {}}, FAR, True),
        ({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "z"}}}, FAR, False),
        ({"ipBlock": {"cidr": "192.0.2.0/24"}}, NEAR_ADDRESS, True),
        ({"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}}, NEAR_ADDRESS, False),
        ({"podSelector": {}}, NEAR_ADDRESS, False),
    ],
)
def test_peers(peer: dict[str, Any], source: Pod, allowed: bool) -> None:
    assert allows([_from(peer)], source, B, 80) is allowed


@pytest.mark.parametrize(
    ("port", "allowed"),
    [
        ({"port": 80}, True),
        ({"port": 81}, False),
        ({"port": "web"}, True),
        ({"port": "other"}, False),
        ({"port": 80, "protocol": "UDP"}, False),
        ({"port": 70, "endPort": 90}, True),
        ({"protocol": "TCP"}, True),
    ],
)
def test_ports(port: dict[str, Any], allowed: bool) -> None:
    assert allows([_from({"podSelector": {}}, ports=[port])], A, B, 80) is allowed


@pytest.mark.parametrize(
    ("operator", "values", "selected"),
    [("In", ["a"], True), ("NotIn", ["a"], False), ("Exists", None, True), ("DoesNotExist", None, False)],
)
def test_expressions(operator: str, values: list[str] | None, selected: bool) -> None:
    assert selects({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]}, A.labels) is selected


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(ValueError, match="Near"):
        selects({"matchExpressions": [{"key": "app", "operator": "Near"}]}, A.labels)
