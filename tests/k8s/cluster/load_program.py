"""A program in a pod: begins, and reports what came."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.k8s.cluster.deploying import REGISTRY, SLOW, VERSION, Cluster, program, until

POD = "load"
POSTGRESQL = {"app.kubernetes.io/component": "postgresql"}
PACKAGE = "tests.k8s.cluster.programs"
LABELS = {"app.kubernetes.io/component": "cli", "trelay/subscriber": "true"}


@dataclass
class Verdict:
    """What the load program found; empty until it has ended."""

    found: dict[str, Any] = field(default_factory=dict)

    def check(self, *, reconnect_p99: float) -> None:
        """Every row came to every subscriber, once, without a gap; good clients were refused for good reasons alone."""
        print(json.dumps(self.found))
        assert self.found["rows"] > 0
        assert (self.found["lost"], self.found["twice"], self.found["foreign"], self.found["gaps"]) == (0, 0, 0, 0)
        assert set(self.found["refused"]) <= {"409", "503"}
        if self.found["reconnects"]:
            assert self.found["reconnect_p99_s"] <= reconnect_p99 * SLOW


def egress() -> dict[str, Any]:
    """Return the policy that lets the program reach the experience layer."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "load"},
        "spec": {
            "podSelector": {"matchLabels": {"trelay/subscriber": "true"}},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "experience-api"}}}],
                    "ports": [{"port": 8080}],
                }
            ],
        },
    }


@contextmanager
def load(
    cluster: Cluster, *, rate: int, subscribers: int, settle: int = 90, version: str = VERSION, **more: str
) -> Iterator[Verdict]:
    """Feed and subscribe while the context lasts; the verdict is there when it has ended.

    `version` is that of the database. `more` is further environment of the program, such as PREFIX, which begins the
    names of the clients.
    """
    verdict = Verdict()
    environment = {"RATE": str(rate), "SUBSCRIBERS": str(subscribers), "SETTLE": str(settle)}
    start(cluster, "load", version, **environment, **more)
    until(lambda: "connected" in cluster.log(POD), 300, lambda: cluster.log(POD) + cluster.state())
    yield verdict
    verdict.found = stop(cluster, settle + 60)


def start(cluster: Cluster, name: str, version: str = VERSION, **environment: str) -> None:
    """Start a program in place of the one before, on the node of PostgreSQL: drains of other nodes leave it alone."""
    pod = program(POD, LABELS, ["-m", f"{PACKAGE}.{name}"], **environment)
    beside = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": POSTGRESQL}}
    (container,) = pod["spec"]["containers"]
    container["image"] = f"{REGISTRY}/cli:{version}"
    container["workingDir"] = "/package"  # where `-m` looks first
    path = f"/package/{PACKAGE.replace('.', '/')}"
    container["volumeMounts"].append({"name": "programs", "mountPath": path, "readOnly": True})
    pod["spec"]["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}}
    cluster.do("delete", "pod", POD, "--ignore-not-found", "--wait=true")
    cluster.apply([egress(), pod])


def stop(cluster: Cluster, timeout: float) -> dict[str, Any]:
    """Stop the program, and return its verdict."""
    assert _phase(cluster) == "Running", cluster.log(POD) + cluster.state()
    cluster.python(POD, "import os, signal; os.kill(1, signal.SIGTERM)")
    until(lambda: _phase(cluster) in {"Succeeded", "Failed"}, timeout, lambda: cluster.log(POD) + cluster.state())
    lines = [line for line in cluster.log(POD).splitlines() if line.startswith("{")]
    assert lines, cluster.log(POD)
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _phase(cluster: Cluster) -> str:
    return cluster.do("get", "pod", POD, "-o", "jsonpath={.status.phase}")
