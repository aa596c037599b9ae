"""Kubernetes by kubectl, and pods that run programs of the tests."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.k8s.rendering import KUBECTL, Object

NAMESPACE = "trelay"
SERVICES = ("system-api", "process-api", "experience-api")
REGISTRY = os.environ.get("TRELAY_K8S_REGISTRY", "registry.example/trelay")
VERSION = os.environ.get("TRELAY_K8S_VERSION", "0.1.0")
SLOW = float(os.environ.get("TRELAY_K8S_SLOW", "1"))
"""By how much more time everything may take, on a machine that others use as well."""
PYTHON = "/opt/trelay/bin/python"
PROGRAMS = Path(__file__).with_name("programs")

HOW_TO_GET_ONE = (
    "name a cluster with KUBECONFIG, whose nodes have the images of `make images` and of tests/k8s/cluster/images, and "
    "which enforces NetworkPolicies; docs/operations/testing.md tells how"
)


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
            self.do("rollout", "status", workload, f"--timeout={timeout * SLOW:.0f}s", timeout=timeout * SLOW + 30)

    def pods(self, component: str) -> list[Object]:
        """Return the pods of a workload that are not being deleted."""
        found = self.get("pods", "-l", f"app.kubernetes.io/component={component}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def python(self, where: str, program: str, *arguments: str) -> str:
        """Run a program in a pod of an image of Trelay, and return its output."""
        return self.do("exec", where, "--", PYTHON, "-c", program, *arguments)

    def log(self, pod: str) -> str:
        """Return the log of a pod."""
        return self.run("-n", NAMESPACE, "logs", pod, "--tail=-1").stdout

    def state(self) -> str:
        """Return what is going on, for a failure."""
        pods = self.run("-n", NAMESPACE, "get", "pods", "-o", "wide").stdout
        events = self.run("-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp").stdout
        return f"{pods}\n{events[-4000:]}"

    def create_programs(self) -> None:
        """Create the ConfigMap that pods of `program` mount."""
        files = f"--from-file={PROGRAMS}"
        self.do(
            "apply",
            "-f",
            "-",
            given=self.do("create", "configmap", "programs", files, "--dry-run=client", "-o", "yaml"),
        )

    def psql(self, statement: str, password: str = "", pod: str = "postgresql-0") -> str:
        """Run a statement in the database of the overlay `local`; without a password, with that of its Secret."""
        secret = f"'{password}'" if password else '"$(cat "$POSTGRES_PASSWORD_FILE")"'
        command = f'PGPASSWORD={secret} psql --host=127.0.0.1 --username=trelay --tuples-only -c "{statement}" trelay'
        return self.do("exec", pod, "--", "sh", "-c", command).strip()

    def mark_namespace(self, mark: str) -> None:
        """Remember what runs in the namespace."""
        self.do("annotate", "namespace", NAMESPACE, f"trelay/deployed={mark}", "--overwrite")

    def has_namespace(self, mark: str) -> bool:
        """Whether the namespace was marked so."""
        path = "jsonpath={.metadata.annotations.trelay/deployed}"
        return self.run("get", "namespace", NAMESPACE, "-o", path).stdout == mark

    def delete_namespace(self) -> None:
        """Remove everything, and wait until it is gone."""
        self.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=180s")


def until(condition: Callable[[], bool], timeout: float, what: Callable[[], str]) -> float:
    """Wait until a condition of the cluster holds, and return the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout * SLOW, f"not within {timeout} s:\n{what()}"
        time.sleep(0.5)
    return time.monotonic() - began


def program(name: str, labels: dict[str, str], command: list[str], **environment: str) -> Object:
    """Return a pod of the image `cli` that runs Python, as restricted as the services are.

    It finds `programs/`, the password of the database, and the authorities of the certificates of the listener and, if
    it has one, of the database.
    """
    mounts = [("database", "/run/secrets/trelay/database"), ("programs", "/programs"), ("authority", "/authority")]
    mounts.append(("database-ca", "/database-ca"))
    authority_file = {"key": "ca.crt", "path": "ca.crt"}
    authority = {"secretName": "experience-api-tls", "items": [authority_file]}
    database_authority = {"secretName": "trelay-postgresql-ca", "items": [authority_file], "optional": True}
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
                    "command": ["/usr/bin/tini", "--", PYTHON, *command],
                    "env": [{"name": key, "value": value} for key, value in environment.items()],
                    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": volume, "mountPath": path, "readOnly": True} for volume, path in mounts],
                }
            ],
            "volumes": [
                {"name": "database", "secret": {"secretName": "trelay-database", "defaultMode": 0o440}},
                {"name": "programs", "configMap": {"name": "programs"}},
                {"name": "authority", "secret": authority},
                {"name": "database-ca", "secret": database_authority},
            ],
        },
    }  # fmt: skip
