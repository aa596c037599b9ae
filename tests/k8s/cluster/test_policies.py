"""The edges of the network policies on the real network, and the namespace's Pod Security."""

import json

import pytest

from tests.k8s.cluster.deploying import SERVICES, Cluster, program

pytestmark = pytest.mark.k8s

CONNECT = """
import json, socket, sys
found = {}
for target in sys.argv[1:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        found[target] = True
    except OSError:
        found[target] = False
print(json.dumps(found))
"""

PORTS = {"experience-api": 8080, "system-api": 8081, "process-api": 8082, "postgresql": 5432, "kafka": 9092}
HEALTH = 9090
PROBES = {
    "cli": {"app.kubernetes.io/component": "cli"},
    "subscriber": {"trelay/subscriber": "true", "probe": "true"},
    "stranger": {"probe": "true"},
}

ALLOWED = {
    *((source, "kafka", 9092) for source in (*SERVICES, "cli")),
    *((source, "postgresql", 5432) for source in ("system-api", "experience-api", "cli")),
    ("cli", "system-api", 8081),
    ("cli", "process-api", 8082),
    ("subscriber", "experience-api", 8080),
}


@pytest.fixture(scope="module")
def addresses(trelay: Cluster) -> dict[str, str]:
    """Start the probes, and return the address of a pod of each workload."""
    pods = []
    for name, labels in PROBES.items():
        pod = program(f"probe-{name}", labels, ["-c", "import time; time.sleep(3600)"])
        pod["spec"]["volumes"] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "programs"]
        pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "programs", "mountPath": "/programs"}]
        pods.append(pod)
    out = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "probes"},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": "probe", "operator": "Exists"}]},
            "policyTypes": ["Egress"],
            "egress": [{}],
        },
    }
    trelay.apply([out, *pods])
    names = [f"probe-{name}" for name in PROBES]
    trelay.do("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "--timeout=120s")
    found = {}
    for workload in PORTS:
        (pod, *_) = trelay.get("pods", "-l", f"app.kubernetes.io/component={workload}")
        found[workload] = pod["status"]["podIP"]
    return found


def _reached(trelay: Cluster, source: str, targets: list[str]) -> dict[str, bool]:
    where = f"deployment/{source}" if source in SERVICES else f"pod/probe-{source}"
    found: dict[str, bool] = json.loads(trelay.python(where, CONNECT, *targets))
    return found


def test_exactly_the_edges_of_the_design_are_open(trelay: Cluster, addresses: dict[str, str]) -> None:
    """Strangers and subscribers may send anything here: what is refused is refused at the target."""
    edges = {f"{addresses[workload]}:{port}": (workload, port) for workload, port in PORTS.items()}
    edges |= {f"{addresses[service]}:{HEALTH}": (service, HEALTH) for service in SERVICES}
    found = set()
    for source in (*SERVICES, *PROBES):
        for target, reached in _reached(trelay, source, list(edges)).items():
            if reached and edges[target][0] != source:
                found.add((source, *edges[target]))
    assert found == ALLOWED


def test_no_service_reaches_anything_else(trelay: Cluster, addresses: dict[str, str]) -> None:
    """The pods of the DNS stand for all others. Policies never block what is on the same node."""
    query = ("-n", "kube-system", "get", "pods", "-l", "k8s-app=kube-dns", "-o", "jsonpath={.items[0].status.podIP}")
    dns = trelay.run(*query).stdout
    others = [f"{dns}:{port}" for port in (8080, 8181, 9153)]
    open_to_a_stranger = [target for target, reached in _reached(trelay, "stranger", others).items() if reached]
    assert open_to_a_stranger, "there is nothing to be kept from"
    for source in SERVICES:
        reached = _reached(trelay, source, [f"{dns}:53", *open_to_a_stranger, "169.254.169.254:80"])
        assert [target for target, found in reached.items() if found] == [f"{dns}:53"], source


def test_a_pod_that_reaches_the_experience_layer_may_not_push(trelay: Cluster, addresses: dict[str, str]) -> None:
    push = (
        "import ssl, sys, urllib.request, urllib.error\n"
        "unchecked = ssl._create_unverified_context()\n"
        "request = urllib.request.Request(sys.argv[1], b'{}', {'Content-Type': 'application/json'})\n"
        "try:\n    print(urllib.request.urlopen(request, timeout=5, context=unchecked).status)\n"
        "except urllib.error.HTTPError as exc:\n    print(exc.code)\n"
    )
    url = f"https://{addresses['experience-api']}:8080/entity?channel=feed"
    answer = trelay.python("pod/probe-subscriber", push, url)
    assert answer.strip() == "403"


@pytest.mark.parametrize(
    ("field", "value"), [("hostNetwork", True), ("hostPID", True), ("securityContext", {"runAsNonRoot": False})]
)
def test_the_namespace_refuses_a_pod_that_is_not_restricted(trelay: Cluster, field: str, value: object) -> None:
    pod = program("bad", {}, ["-c", "pass"])
    pod["spec"][field] = value
    done = trelay.run("-n", "trelay", "apply", "--dry-run=server", "-f", "-", given=json.dumps(pod))
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted' in done.stderr
