"""Each overlay on an empty cluster: ready without a human, unchanged when applied again, gone when deleted."""

import time
from collections.abc import Iterator

import pytest
import yaml

from tests.k8s.cluster.deploying import NAMESPACE, SERVICES, SLOW, Cluster
from tests.k8s.cluster.overlays import database_objects, with_test_images
from tests.k8s.rendering import Object, overlay

pytestmark = pytest.mark.k8s

READY_WITHIN = 120
KINDS = "all,configmaps,secrets,serviceaccounts,networkpolicies,poddisruptionbudgets,persistentvolumeclaims"
REPLACED = ("poddisruptionbudget.policy/", "statefulset.apps/")
ALWAYS_THERE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}


@pytest.fixture(autouse=True)
def _empty(cluster: Cluster) -> Iterator[None]:
    cluster.delete_namespace()
    yield
    cluster.delete_namespace()


def _apply(cluster: Cluster, objects: list[Object]) -> str:
    """Apply as `kubectl apply -k` does: the objects name the namespace themselves."""
    done = cluster.run("apply", "-f", "-", given=yaml.safe_dump_all(objects))
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
    return done.stdout


def _generations(cluster: Cluster) -> dict[str, int]:
    kinds = ("deployment", "statefulset", "networkpolicy", "poddisruptionbudget")
    return {
        f"{kind}/{found['metadata']['name']}": found["metadata"]["generation"]
        for kind in kinds
        for found in cluster.get(kind)
    }


def _workloads(objects: list[Object]) -> list[str]:
    return [
        f"{found['kind'].lower()}/{found['metadata']['name']}"
        for found in objects
        if found["kind"] in {"Deployment", "StatefulSet"}
    ]


@pytest.mark.parametrize("name", ["minimal", "local"])
def test_an_overlay_comes_up_stays_and_goes(cluster: Cluster, name: str, record_property: object) -> None:
    objects = with_test_images(overlay(name))
    if name == "minimal":
        _bring_a_database(cluster)
    before = set(cluster.do("get", KINDS, "-o", "name").split()) if name == "minimal" else ALWAYS_THERE
    began = time.monotonic()
    _apply(cluster, objects)
    try:
        cluster.wait_until_rolled_out(*_workloads(objects), timeout=READY_WITHIN)
    except AssertionError as exc:
        pytest.fail(f"{exc}\n{cluster.state()}")
    took = time.monotonic() - began
    print(f"{name}: ready {took:.1f} s after kubectl apply")
    assert took < READY_WITHIN * SLOW
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.get("pods")]
    assert set(restarts) == {0}, cluster.state()

    generations = _generations(cluster)
    again = _apply(cluster, objects).splitlines()
    # kubectl names these two kinds as configured each time, because it replaces the selector of one and the claims of
    # the other; their generation tells whether anything changed.
    assert [line for line in again if not line.endswith("unchanged") and not line.startswith(REPLACED)] == []
    assert _generations(cluster) == generations

    kept = [found for found in objects if found["kind"] != "Namespace"]
    cluster.do("delete", "--wait=true", "-f", "-", given=yaml.safe_dump_all(kept))
    left = set(cluster.do("get", KINDS, "-o", "name").split())
    assert {found for found in left - before - ALWAYS_THERE if not _derived(found)} == set()


def _derived(name: str) -> bool:
    """Whether the cluster removes an object by itself, because its owner is gone."""
    return name.startswith(("pod/", "replicaset.apps/", "persistentvolumeclaim/"))


def _bring_a_database(cluster: Cluster) -> None:
    objects = database_objects()
    namespace = next(found for found in overlay("minimal") if found["kind"] == "Namespace")
    _apply(cluster, [namespace, *objects])
    # The overlay has users create these; the StatefulSet uses the one of the overlay `local`.
    secrets = {"trelay-database": "password=local-only", "trelay-tokens": "k1=a-key-of-a-test-with-more-than-32-bytes"}
    for secret, literal in secrets.items():
        cluster.run("-n", NAMESPACE, "create", "secret", "generic", secret, f"--from-literal={literal}")
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "the-users-database", "namespace": NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "postgresql"}},
            "ingress": [{"ports": [{"port": 5432}]}],
        },
    }
    _apply(cluster, [ingress])
    cluster.wait_until_rolled_out("statefulset/postgresql")


def test_the_api_server_accepts_what_production_has_of_its_own_kinds(cluster: Cluster) -> None:
    cluster.run("create", "namespace", NAMESPACE)
    kinds = {"ServiceAccount", "Deployment", "Service", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget"}
    own = [found for found in overlay("production") if found["kind"] in kinds]
    assert {found["kind"] for found in own} == kinds
    accepted = cluster.apply(own, "--dry-run=server").splitlines()
    assert len(accepted) == len(own)
    assert set(SERVICES) <= {line.split()[0].rpartition("/")[2] for line in accepted if "deployment" in line}
