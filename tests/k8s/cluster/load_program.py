"""The program `load.py` in a pod: begins, and tells what came."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.k8s.cluster.deploying import Cluster, program, until

POD = "load"
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
            assert self.found["reconnect_p99_s"] <= reconnect_p99


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
def load(cluster: Cluster, *, rate: int, subscribers: int, settle: int = 90) -> Iterator[Verdict]:
    """Feed and subscribe while the context lasts; the verdict is there when it has ended."""
    verdict = Verdict()
    pod = _program(cluster, RATE=str(rate), SUBSCRIBERS=str(subscribers), SETTLE=str(settle))
    cluster.do("delete", "pod", POD, "--ignore-not-found", "--wait=true")
    cluster.apply([egress(), pod])
    until(lambda: "connected" in cluster.log(POD), 120, lambda: cluster.log(POD) + cluster.state())
    yield verdict
    stop = "import os, signal; os.kill(1, signal.SIGTERM)"
    cluster.do("exec", POD, "--", "/opt/trelay/bin/python", "-c", stop)
    until(lambda: _phase(cluster) in {"Succeeded", "Failed"}, settle + 60, lambda: cluster.log(POD) + cluster.state())
    lines = [line for line in cluster.log(POD).splitlines() if line.startswith("{")]
    assert lines, cluster.log(POD)
    verdict.found = json.loads(lines[-1])


def _phase(cluster: Cluster) -> str:
    return cluster.do("get", "pod", POD, "-o", "jsonpath={.status.phase}")


def _program(cluster: Cluster, **environment: str) -> dict[str, Any]:
    pod = program(POD, LABELS, ["/load/load.py"], **environment)
    # kustomize adds a hash to the name of the Secret.
    volumes = cluster.get("deployment")[0]["spec"]["template"]["spec"]["volumes"]
    secret = next(volume["secret"]["secretName"] for volume in volumes if volume["name"] == "database")
    pod["spec"]["volumes"][0]["secret"]["secretName"] = secret
    return pod
