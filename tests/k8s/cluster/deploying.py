"""Kubernetes by kubectl, and the overlays as the tests deploy them: with images and sizes for one small node."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.k8s.rendering import KUBECTL, MANIFESTS, Object, of_kind, overlay, rendered

NAMESPACE = "trelay"
SERVICES = ("system-api", "process-api", "experience-api")
REGISTRY = os.environ.get("TRELAY_K8S_REGISTRY", "registry.example/trelay")
VERSION = os.environ.get("TRELAY_K8S_VERSION", "0.1.0")
SERVERS = {
    "docker.io/library/postgres": os.environ.get("TRELAY_K8S_POSTGRES", "registry.example/trelay-test/postgres:1"),
    "docker.io/apache/kafka": os.environ.get("TRELAY_K8S_KAFKA", "registry.example/trelay-test/kafka:1"),
}
LOAD = Path(__file__).with_name("load.py")

HOW_TO_GET_ONE = (
    "name a cluster with KUBECONFIG, whose nodes have the images of `make images` and of tests/k8s/cluster/images, and "
    "which enforces NetworkPolicies; docs/operations/testing.md tells how"
)

FEED = """\
  sources:
    feed:
      kind: table
      url: postgresql://trelay@postgresql:5432/trelay
      password: {file: /run/secrets/trelay/database/password}
      table: feed
      key: [id]
      subject: account
      type: row.added
      interval: 0.2
"""
PIPELINES = """\
  pipelines:
    feed: {sources: [feed], channel: feed}
"""
TABLE = "CREATE TABLE feed (id bigserial PRIMARY KEY, number bigint NOT NULL UNIQUE, account text NOT NULL)"


@dataclass(frozen=True)
class Cluster:
    """A cluster that a KUBECONFIG names."""

    kubeconfig: str

    def run(self, *arguments: str, given: str | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return what it printed, whatever its exit status."""
        return subprocess.run(
            [KUBECTL, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=given, capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip

    def do(self, *arguments: str, given: str | None = None, timeout: float = 300) -> str:
        """Run kubectl in the namespace, and return its output; fail if it fails."""
        done = self.run("-n", NAMESPACE, *arguments, given=given, timeout=timeout)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def apply(self, objects: Sequence[Object], *more: str) -> str:
        """Apply objects."""
        return self.do("apply", *more, "-f", "-", given=yaml.safe_dump_all(objects))

    def get(self, kind: str, *more: str) -> list[Object]:
        """Return the objects of a kind in the namespace."""
        found: list[Object] = json.loads(self.do("get", kind, "-o", "json", *more))["items"]
        return found

    def wait_until_rolled_out(self, *workloads: str, timeout: float = 240) -> None:
        """Wait until each workload runs what its object says, and is available."""
        for workload in workloads:
            self.do("rollout", "status", workload, f"--timeout={timeout:.0f}s", timeout=timeout + 30)

    def log(self, pod: str) -> str:
        """Return the log of a pod."""
        return self.run("-n", NAMESPACE, "logs", pod, "--tail=-1").stdout

    def state(self) -> str:
        """Return what is going on, for a failure."""
        pods = self.run("-n", NAMESPACE, "get", "pods", "-o", "wide").stdout
        events = self.run("-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp").stdout
        return f"{pods}\n{events[-4000:]}"

    def delete_namespace(self) -> None:
        """Remove everything, and wait until it is gone."""
        self.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=180s")


def until(condition: Callable[[], bool], timeout: float, what: Callable[[], str]) -> float:
    """Wait until a condition of the cluster holds, and return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, f"not within {timeout} s:\n{what()}"
        time.sleep(0.5)
    return time.monotonic() - began


def with_test_images(objects: list[Object]) -> list[Object]:
    """Let the workloads use the images that the nodes have."""
    for workload in of_kind(objects, "Deployment", "StatefulSet", "Job").values():
        for container in workload["spec"]["template"]["spec"]["containers"]:
            name = container["image"].rpartition(":")[0]
            ours = name.startswith("registry.example/trelay/")
            container["image"] = f"{REGISTRY}/{name.rpartition('/')[2]}:{VERSION}" if ours else SERVERS[name]
    return objects


def local(folder: Path, replicas: int) -> list[Object]:
    """Return the overlay `local` with the source and the pipeline of the load program."""
    settings = MANIFESTS / "overlays" / "local" / "settings"
    system, process = (settings / f"{layer}.yaml" for layer in ("system", "process"))
    (folder / "system.yaml").write_text(system.read_text().replace("  sources: {}\n", FEED))
    (folder / "process.yaml").write_text(process.read_text().replace("  pipelines: {}\n", PIPELINES))
    up = "../" * (len(folder.resolve().parts) - 1)
    kustomization: dict[str, Any] = {
        "namespace": NAMESPACE,
        "resources": [up + str(MANIFESTS / "overlays" / "local").removeprefix("/")],
        "configMapGenerator": [
            {"name": f"{layer}-settings", "behavior": "replace", "files": [f"trelay.yaml={layer}.yaml"]}
            for layer in ("system", "process")
        ],
        "replicas": [{"name": service, "count": replicas} for service in SERVICES],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return with_test_images(rendered(folder))


def database_objects() -> list[Object]:
    """Return the PostgreSQL of the overlay `local`, which stands for a database of the user's."""
    return [
        found
        for found in with_test_images(overlay("local"))
        if found["metadata"]["name"].startswith(("postgresql", "trelay-database"))
    ]


def program(name: str, labels: dict[str, str], command: list[str], **environment: str) -> Object:
    """Return a pod of the image `cli` that runs Python, as restricted as the services are."""
    mounts = [("database", "/run/secrets/trelay/database"), ("load", "/load")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "program",
                    "image": f"{REGISTRY}/cli:{VERSION}",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/usr/bin/tini", "--", "/opt/trelay/bin/python", *command],
                    "env": [{"name": key, "value": value} for key, value in environment.items()],
                    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": volume, "mountPath": path, "readOnly": True} for volume, path in mounts],
                }
            ],
            "volumes": [
                {"name": "database", "secret": {"secretName": "trelay-database", "defaultMode": 0o440}},
                {"name": "load", "configMap": {"name": "load"}},
            ],
        },
    }  # fmt: skip
