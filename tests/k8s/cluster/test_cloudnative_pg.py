"""The overlay `production` on CloudNativePG itself: three instances, and a failover under load."""

import json
import os
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.k8s.cluster.deploying import SERVICES, Cluster, until
from tests.k8s.cluster.load_program import POSTGRESQL, load
from tests.k8s.cluster.operators import building, cloudnative_pg
from tests.k8s.cluster.overlays import TABLES, production
from tests.k8s.cluster.stand_ins.operators import definitions, reconciled_without_database, secrets_of_users
from tests.k8s.cluster.test_production import DATABASE
from tests.k8s.rendering import Object, of_kind

pytestmark = pytest.mark.k8s

RATE = int(os.environ.get("TRELAY_K8S_RATE", "50"))
SUBSCRIBERS = int(os.environ.get("TRELAY_K8S_SUBSCRIBERS", "20"))
OF_ONE_ACCOUNT = os.environ.get("TRELAY_K8S_OF_ONE_ACCOUNT", "")
NAME = "trelay-postgresql"
PRIMARY = f"cnpg.io/cluster={NAME},cnpg.io/instanceRole=primary"
READY_WITHIN = 300


@pytest.fixture(scope="module")
def production_on_it(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run the overlay on an empty cluster, with stand-ins for the other operators."""
    if reason := building.missing():
        pytest.skip(reason)
    found = production(tmp_path_factory.mktemp("production"))
    others = [each for each in found if not each["apiVersion"].startswith(cloudnative_pg.GROUP)]
    kinds = yaml.safe_dump_all(definitions(others))
    cluster.delete_namespace()
    try:
        cloudnative_pg.install(cluster)
        cluster.run("apply", "-f", "-", given=kinds)
        cluster.run("wait", "--for=condition=Established", "-f", "-", "--timeout=60s", given=kinds)
        cluster.run("apply", "-f", "-", given=yaml.safe_dump_all(of_kind(found, "Namespace").values()))
        cluster.apply(secrets_of_users())
        cluster.create_programs()
        database = of_kind(found, "Cluster")[NAME]
        _shrink(database)
        # The API server reaches the webhook of the operator a moment after its pod is ready.
        until(lambda: _is_accepted(cluster, database), 60, lambda: cloudnative_pg.state(cluster))
        cluster.apply([*found, *reconciled_without_database(found)])
        yield cluster
    finally:
        cluster.delete_namespace()
        cluster.run("delete", "-f", "-", "--ignore-not-found", given=kinds)
        cloudnative_pg.uninstall(cluster)


def _shrink(database: Object) -> None:
    """Let three instances run on a small node, from an image that it has."""
    database["spec"] |= {
        "imageName": cloudnative_pg.INSTANCE,
        "storage": {"size": "1Gi"},
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}},
        "smartShutdownTimeout": 5,
        "stopDelay": 30,  # else the namespace takes minutes to be deleted
        "inheritedMetadata": {"labels": POSTGRESQL},  # the load program runs beside it
    }


def _is_accepted(cluster: Cluster, database: Object) -> bool:
    tried = cluster.run("-n", "trelay", "apply", "--dry-run=server", "-f", "-", given=yaml.safe_dump(database))
    return tried.returncode == 0


def test_a_failover_loses_and_repeats_nothing(production_on_it: Cluster) -> None:
    """The pod of the primary is killed: another instance takes over with all that was acknowledged."""
    cluster = production_on_it
    began = time.monotonic()
    until(lambda: _instances(cluster) == 3, READY_WITHIN, lambda: _state(cluster))
    cluster.wait_until_rolled_out("statefulset/trelay-kafka", *(f"deployment/{service}" for service in SERVICES))
    print(f"production on CloudNativePG: ready after {time.monotonic() - began:.1f} s")
    before = _primary(cluster)
    statement = f"SET ROLE trelay; {TABLES}"
    cluster.do("exec", before, "-c", "postgres", "--", "psql", "--set=ON_ERROR_STOP=1", "-c", statement, "trelay")
    environment = {"DATABASE": DATABASE, "DATABASE_CA": "/database-ca/ca.crt", "OF_ONE_ACCOUNT": OF_ONE_ACCOUNT}
    with load(cluster, rate=RATE, subscribers=SUBSCRIBERS, settle=180, **environment) as verdict:
        time.sleep(5)  # rows of before the failover
        cluster.do("delete", "pod", before, "--grace-period=1", "--wait=false")
        took = until(lambda: _primary(cluster) not in {"", before}, 120, lambda: _state(cluster))
        print(f"another instance was the primary after {took:.1f} s")
        until(lambda: _instances(cluster) == 3, READY_WITHIN, lambda: _state(cluster))
        cluster.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
        time.sleep(5)  # rows of after it
    verdict.check(reconnect_p99=60)


def _instances(cluster: Cluster) -> int:
    """Return how many instances are ready."""
    status = json.loads(cluster.do("get", "clusters.postgresql.cnpg.io", NAME, "-o", "json")).get("status", {})
    return int(status.get("readyInstances", 0))


def _primary(cluster: Cluster) -> str:
    """Return the pod of the primary; nothing while there is none, or more than one."""
    names = cluster.do("get", "pods", "-l", PRIMARY, "-o", "name").split()
    return names[0].removeprefix("pod/") if len(names) == 1 else ""


def _state(cluster: Cluster) -> str:
    described = cluster.run("-n", "trelay", "describe", "clusters.postgresql.cnpg.io").stdout
    return described[-3000:] + cloudnative_pg.state(cluster)[-6000:] + cluster.state()
