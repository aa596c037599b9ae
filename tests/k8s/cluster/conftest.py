"""The cluster, and Trelay on it with a table that is fed."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests.k8s.cluster.deploying import HOW_TO_GET_ONE, SERVICES, VERSION, Cluster
from tests.k8s.cluster.overlays import TABLES, local
from tests.k8s.rendering import Object

REPLICAS = 2


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return the cluster of KUBECONFIG."""
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.fail(HOW_TO_GET_ONE)
    found = Cluster(kubeconfig)
    answer = found.run("get", "nodes", "-o", "name")
    assert answer.returncode == 0, f"{answer.stderr}\n{HOW_TO_GET_ONE}"
    yield found
    found.delete_namespace()


@pytest.fixture(scope="module")
def trelay(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """Run the overlay `local` with two replicas of each service; modules after each other share it."""
    if not cluster.has_namespace(f"tests-{VERSION}"):
        deploy(cluster, tmp_path_factory.mktemp("local"))
    return cluster


def deploy(cluster: Cluster, folder: Path, version: str = VERSION, certificates: Sequence[Object] = ()) -> None:
    """Run the overlay `local` of a release in an empty namespace.

    `certificates` are resources of cert-manager, which makes the Secrets that they name; those of tests are left out.
    """
    cluster.delete_namespace()
    issued = {each["spec"]["secretName"] for each in certificates}
    objects = [found for found in local(folder, REPLICAS, version) if found["metadata"]["name"] not in issued]
    objects += certificates
    cluster.run("apply", "-f", "-", given=_namespace_of(objects))
    cluster.create_programs()
    cluster.apply(objects)
    cluster.wait_until_rolled_out("statefulset/postgresql", "statefulset/kafka")
    cluster.psql(TABLES)
    cluster.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    cluster.mark_namespace(f"tests-{version}")


def _namespace_of(objects: list[Object]) -> str:
    return str(yaml.safe_dump(next(found for found in objects if found["kind"] == "Namespace")))
