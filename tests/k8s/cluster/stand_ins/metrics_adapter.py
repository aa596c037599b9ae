"""The program `metrics_adapter.py` in a namespace of its own, as monitoring is, and registered at the API server."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from tests.k8s.cluster.deploying import PROGRAMS, Cluster, program, until
from tests.k8s.cluster.overlays import certificate
from tests.k8s.rendering import Object

NAME = "trelay-test-metrics"
API = "v1beta2.custom.metrics.k8s.io"
PATH = (
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/trelay/pods/*/trelay_experience_connections"
    "?labelSelector=app.kubernetes.io%2Fcomponent%3Dexperience-api"
)
RBAC = "rbac.authorization.k8s.io"


@contextmanager
def adapter(cluster: Cluster) -> Iterator[None]:
    """Serve the metric of connections to autoscalers while the context lasts."""
    try:
        applied = cluster.run("apply", "-f", "-", given=yaml.safe_dump_all(_objects()))
        assert applied.returncode == 0, applied.stderr
        until(lambda: cluster.run("get", "--raw", PATH).returncode == 0, 120, lambda: _state(cluster))
        yield
    finally:
        cluster.run("delete", "apiservice", API, "--ignore-not-found")
        cluster.run("delete", "clusterrole,clusterrolebinding", NAME, "--ignore-not-found")
        cluster.run("delete", "namespace", NAME, "--ignore-not-found", "--wait=true")


def _state(cluster: Cluster) -> str:
    asked = cluster.run("get", "--raw", PATH).stderr
    return (
        f"{asked}\n{cluster.run('-n', NAME, 'describe', 'pods').stdout}\n{cluster.run('-n', NAME, 'logs', NAME).stdout}"
    )


def _objects() -> list[Object]:
    labels = {"trelay/monitoring": "true"}  # so that the policies of Trelay let it read metrics
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": NAME}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    service = {"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": 6443}]}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME, "labels": labels}},
        _own("v1", "ServiceAccount"),
        _own("v1", "Secret", stringData=certificate()),
        _own("v1", "ConfigMap", data={"adapter.py": (PROGRAMS / "metrics_adapter.py").read_text()}),
        _own("v1", "Service", spec=service),
        _pod(),
        {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": rules},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME},
            "subjects": [account],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API},
            "spec": {
                "group": "custom.metrics.k8s.io", "version": "v1beta2", "groupPriorityMinimum": 100,
                "versionPriority": 100, "insecureSkipTLSVerify": True, "service": {"name": NAME, "namespace": NAME},
            },
        },
    ]  # fmt: skip


def _own(version: str, kind: str, **content: object) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": NAME, "namespace": NAME}, **content}


def _pod() -> Object:
    pod = program(NAME, {"app": NAME}, ["/programs/adapter.py"])
    pod["metadata"]["namespace"] = NAME
    pod["spec"] |= {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "volumes": [
            {"name": "programs", "configMap": {"name": NAME}},
            {"name": "tls", "secret": {"secretName": NAME, "defaultMode": 0o440}},
        ],
    }
    pod["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "programs", "mountPath": "/programs", "readOnly": True},
        {"name": "tls", "mountPath": "/tls", "readOnly": True},
    ]
    return pod
