"""The cluster, and Trelay on it with a table that is fed."""

import os
from collections.abc import Iterator

import pytest
import yaml

from tests.k8s.cluster.deploying import HOW_TO_GET_ONE, LOAD, SERVICES, TABLE, Cluster, local
from tests.k8s.rendering import Object

REPLICAS = 2


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the cluster of KUBECONFIG."""
    kubeconfig = os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.fail(HOW_TO_GET_ONE)
    found = Cluster(kubeconfig)
    answer = found.run("get", "nodes", "-o", "name")
    assert answer.returncode == 0, f"{answer.stderr}\n{HOW_TO_GET_ONE}"
    return found


@pytest.fixture(scope="session")
def trelay(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run the overlay `local` with two replicas of each service for all tests that do not bring their own."""
    cluster.delete_namespace()
    objects = local(tmp_path_factory.mktemp("local"), REPLICAS)
    cluster.run("apply", "-f", "-", given=_namespace_of(objects))
    program = cluster.do("create", "configmap", "load", f"--from-file={LOAD}", "--dry-run=client", "-o", "yaml")
    cluster.do("apply", "-f", "-", given=program)
    cluster.apply(objects)
    cluster.wait_until_rolled_out("statefulset/postgresql", "statefulset/kafka")
    environment = 'PGPASSWORD="$(cat "$POSTGRES_PASSWORD_FILE")"'
    create = f'{environment} psql --host=127.0.0.1 --username=trelay --command="{TABLE}" trelay'
    cluster.do("exec", "postgresql-0", "--", "sh", "-c", create)
    cluster.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    yield cluster
    cluster.delete_namespace()


def _namespace_of(objects: list[Object]) -> str:
    return str(yaml.safe_dump(next(found for found in objects if found["kind"] == "Namespace")))
