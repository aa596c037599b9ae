"""Evaluates NetworkPolicies: which pods may connect to which ports. Decides without I/O.

A connection is allowed when the egress side of its source and the ingress side of its target allow it. A side without a
policy that selects the pod allows everything. Source: the API reference of networking.k8s.io/v1.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod, or an address outside of the cluster: that has no namespace."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = "trelay"
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = "10.0.0.1"


def allows(policies: Iterable[Object], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether the policies let `source` connect to a port of `target`."""
    found = list(policies)
    out = _side(found, "Egress", source, target, target, port, protocol)
    return out and _side(found, "Ingress", target, source, target, port, protocol)


def _side(policies: list[Object], kind: str, selected: Pod, peer: Pod, target: Pod, port: int, protocol: str) -> bool:
    applying = [policy for policy in policies if _applies(policy, kind, selected)]
    key, peers = ("egress", "to") if kind == "Egress" else ("ingress", "from")
    return not applying or any(
        _matches_peer(rule.get(peers), policy, peer) and _matches_port(rule.get("ports"), target, port, protocol)
        for policy in applying
        for rule in policy["spec"].get(key) or ()
    )


def _applies(policy: Object, kind: str, pod: Pod) -> bool:
    spec = policy["spec"]
    kinds = spec.get("policyTypes") or (["Ingress", "Egress"] if "egress" in spec else ["Ingress"])
    return (
        kind in kinds and policy["metadata"]["namespace"] == pod.namespace and selects(spec["podSelector"], pod.labels)
    )


def _matches_peer(peers: list[Object] | None, policy: Object, pod: Pod) -> bool:
    return not peers or any(_is_peer(peer, policy, pod) for peer in peers)


def _is_peer(peer: Object, policy: Object, pod: Pod) -> bool:
    if (block := peer.get("ipBlock")) is not None:
        address = ip_address(pod.address)
        inside = address in ip_network(block["cidr"])
        return inside and not any(address in ip_network(excluded) for excluded in block.get("except") or ())
    if pod.namespace is None:
        return False
    namespaces = peer.get("namespaceSelector")
    if namespaces is None:
        in_namespace = pod.namespace == policy["metadata"]["namespace"]
    else:
        labels = {"kubernetes.io/metadata.name": pod.namespace, **pod.namespace_labels}
        in_namespace = selects(namespaces, labels)
    return in_namespace and selects(peer.get("podSelector") or {}, pod.labels)


def _matches_port(ports: list[Object] | None, target: Pod, port: int, protocol: str) -> bool:
    return not ports or any(
        found.get("protocol", "TCP") == protocol and _covers(found, target, port) for found in ports
    )


def _covers(found: Object, target: Pod, port: int) -> bool:
    named: int | str | None = found.get("port")
    if named is None:
        return True
    if isinstance(named, str):
        return target.ports.get(named) == port
    return named <= port <= int(found.get("endPort") or named)


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects something with these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    found = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return found in expression["values"]
        case "NotIn":
            return found not in expression["values"]
        case "Exists":
            return found is not None
        case "DoesNotExist":
            return found is None
        case other:
            raise ValueError(f"found the operator {other!r}; expected In, NotIn, Exists or DoesNotExist")
