"""The Prometheus Operator in the cluster, built from its module, with its own manifests; and a Prometheus of it."""

import json
import os
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.k8s.cluster.deploying import Cluster, until
from tests.k8s.cluster.operators.building import image, module_folder, program
from tests.k8s.rendering import Object

NAMESPACE = "monitoring"
MODULE = "github.com/prometheus-operator/prometheus-operator"
IMAGE = os.environ.get("TRELAY_K8S_PROMETHEUS")
"""Of Prometheus itself, which is built where none is named."""
RELOADER = "--prometheus-config-reloader="
_RELOADER = "prometheus-config-reloader"
_DEFINITION = "kind: CustomResourceDefinition"
_NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": NAMESPACE, "labels": {"trelay/monitoring": "true"}},
}
_SERVER = "github.com/prometheus/prometheus/cmd/prometheus"
_DISCOVERY = "remove_all_sd,enable_kubernetes_sd"
"""The build constraints of a Prometheus that discovers targets in Kubernetes alone: the others are its largest part."""
_EVERYTHING = ("podMonitorSelector", "podMonitorNamespaceSelector", "ruleSelector", "ruleNamespaceSelector")
_READY = "jsonpath={.status.availableReplicas}"


def install(cluster: Cluster) -> None:
    """Install the operator, and a Prometheus for the PodMonitors and PrometheusRules of all namespaces."""
    operator = _image("operator", "prometheus-operator:1")
    reloader = _image(_RELOADER, "config-reloader:1")
    server = IMAGE or _server()
    definitions, own = _bundle()
    _apply(cluster, yaml.safe_dump(_NAMESPACE))
    _apply(cluster, definitions)
    cluster.run("wait", "--for=condition=Established", "-f", "-", "--timeout=60s", given=definitions)
    for found in own:
        if found["kind"] == "Deployment":
            (container,) = found["spec"]["template"]["spec"]["containers"]
            container |= {"image": operator, "imagePullPolicy": "IfNotPresent"}
            others = [argument for argument in container["args"] if not argument.startswith(RELOADER)]
            container["args"] = [*others, RELOADER + reloader]
    _apply(cluster, yaml.safe_dump_all([*own, *_prometheus(server)]))
    until(lambda: _available(cluster), 240, lambda: _state(cluster))


def _image(command: str, name: str) -> str:
    """Build a program of the operator, where its pods look for it."""
    return image(name, _dockerfile(f"/bin/{command}"), program("prometheus", f"{MODULE}/cmd/{command}"))


def _server() -> str:
    """Build Prometheus, without its pages."""
    return image("prometheus:1", _dockerfile("/bin/prometheus"), program("prometheus_server", _SERVER, _DISCOVERY))


def _dockerfile(path: str) -> str:
    return f'FROM scratch\nCOPY program {path}\nUSER 65532:65532\nENTRYPOINT ["{path}"]\n'


def uninstall(cluster: Cluster) -> None:
    """Delete all of it."""
    definitions, own = _bundle()
    given = yaml.safe_dump_all([*_prometheus(""), *own])
    cluster.run("delete", "-f", "-", "--ignore-not-found", "--wait=true", given=given)
    cluster.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    cluster.run("delete", "-f", "-", "--ignore-not-found", "--wait=true", given=definitions)


def ask(cluster: Cluster, path: str, **query: str) -> Any:
    """Return the data of an answer of Prometheus, which the API server passes on."""
    service = f"/api/v1/namespaces/{NAMESPACE}/services/prometheus-operated:web/proxy/api/v1/{path}"
    done = cluster.run("get", "--raw", f"{service}?{urlencode(query)}")
    assert done.returncode == 0, f"{done.stderr}\n{_state(cluster)}"
    return json.loads(done.stdout)["data"]


def _bundle() -> tuple[str, list[Object]]:
    """Return the manifests of the operator: definitions as text, because no parser of Python reads their `=`."""
    parts = (module_folder("prometheus") / "bundle.yaml").read_text().split("\n---\n")
    own = [yaml.safe_load(part) for part in parts if _DEFINITION not in part]
    for found in own:
        for place in (found["metadata"], *found.get("subjects", [])):
            if place.get("namespace"):
                place["namespace"] = NAMESPACE
    return "\n---\n".join(part for part in parts if _DEFINITION in part), own


def _prometheus(server: str) -> list[Object]:
    """Return a Prometheus of an image, as the documentation of the operator has it."""
    rules = [
        {"apiGroups": [""], "resources": ["pods", "services", "endpoints", "configmaps"],
         "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    ]  # fmt: skip
    authorization = "rbac.authorization.k8s.io"
    spec = {
        "image": server,
        "replicas": 1,
        "serviceAccountName": "prometheus",
        "evaluationInterval": "5s",
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        **{selector: {} for selector in _EVERYTHING},
    }
    return [
        _object("v1", "ServiceAccount"),
        _object(f"{authorization}/v1", "ClusterRole", rules=rules),
        _object(
            f"{authorization}/v1",
            "ClusterRoleBinding",
            roleRef={"apiGroup": authorization, "kind": "ClusterRole", "name": "prometheus"},
            subjects=[{"kind": "ServiceAccount", "name": "prometheus", "namespace": NAMESPACE}],
        ),
        _object("monitoring.coreos.com/v1", "Prometheus", spec=spec),
    ]


def _object(version: str, kind: str, **content: object) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "prometheus", "namespace": NAMESPACE},
        **content,
    }


def _apply(cluster: Cluster, manifests: str) -> None:
    applied = cluster.run("apply", "--server-side", "--force-conflicts", "-f", "-", given=manifests)
    assert applied.returncode == 0, applied.stderr


def _available(cluster: Cluster) -> bool:
    found = cluster.run("-n", NAMESPACE, "get", "prometheus", "prometheus", "-o", _READY)
    return found.stdout == "1"


def _state(cluster: Cluster) -> str:
    pods = cluster.run("-n", NAMESPACE, "describe", "pods").stdout
    logs = cluster.run("-n", NAMESPACE, "logs", "deployment/prometheus-operator", "--tail=20").stdout
    return f"{pods}\n{logs}"
