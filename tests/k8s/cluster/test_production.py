"""The overlay `production`, with stand-ins for its operators: TLS on every connection, Kafka with three brokers."""

import os
import random
import time
from collections.abc import Iterator

import pytest
import yaml

from tests.k8s.cluster.deploying import SERVICES, SLOW, Cluster, until
from tests.k8s.cluster.load_program import load
from tests.k8s.cluster.overlays import TABLES, production
from tests.k8s.cluster.stand_ins.operators import definitions, reconciled, secrets_of_users
from tests.k8s.rendering import Object, of_kind

pytestmark = pytest.mark.k8s

READY_WITHIN = 120
KILLING = float(os.environ.get("TRELAY_K8S_KILLING", "300"))
SEED = int(os.environ.get("TRELAY_K8S_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
RATE = int(os.environ.get("TRELAY_K8S_RATE", "50"))
SUBSCRIBERS = int(os.environ.get("TRELAY_K8S_SUBSCRIBERS", "20"))
OF_ONE_ACCOUNT = os.environ.get("TRELAY_K8S_OF_ONE_ACCOUNT", "")
DATABASE = "postgresql://trelay@trelay-postgresql-rw:5432/trelay"
VICTIMS = {
    "app=trelay-kafka": "statefulset/trelay-kafka",
    "cnpg.io/cluster=trelay-postgresql": "statefulset/trelay-postgresql",
    **{f"app.kubernetes.io/component={service}": f"deployment/{service}" for service in SERVICES},
}
"""Selectors of pods, and the workloads that they belong to."""


@pytest.fixture(scope="module")
def objects(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Object]]:
    """Run the overlay on an empty cluster."""
    found = production(tmp_path_factory.mktemp("production"))
    kinds = yaml.safe_dump_all(definitions(found))
    cluster.delete_namespace()
    cluster.run("apply", "-f", "-", given=kinds)
    cluster.run("wait", "--for=condition=Established", "-f", "-", "--timeout=60s", given=kinds)
    cluster.run("apply", "-f", "-", given=yaml.safe_dump_all(of_kind(found, "Namespace").values()))
    cluster.apply(secrets_of_users())
    cluster.create_programs()
    yield found
    cluster.delete_namespace()
    cluster.run("delete", "-f", "-", "--ignore-not-found", given=kinds)


def test_it_comes_up_and_stays(cluster: Cluster, objects: list[Object]) -> None:
    began = time.monotonic()
    _apply(cluster, objects)
    cluster.apply(reconciled(objects))
    try:
        cluster.wait_until_rolled_out(*reversed(VICTIMS.values()), timeout=READY_WITHIN * 2)
    except AssertionError as exc:
        pytest.fail(f"{exc}\n{cluster.state()}")
    took = time.monotonic() - began
    print(f"production: ready {took:.1f} s after kubectl apply, with the servers")
    until(lambda: "created" in cluster.log("kafka-operator"), 120, lambda: cluster.log("kafka-operator"))
    assert took < READY_WITHIN * SLOW
    again = _apply(cluster, objects)
    changed = [line for line in again if not line.endswith("unchanged")]
    # kubectl names these as configured each time, because it replaces their selector; nothing changes.
    assert [line for line in changed if not line.startswith("poddisruptionbudget.policy/")] == []


def test_kills_lose_and_repeat_nothing(cluster: Cluster, objects: list[Object]) -> None:
    """A broker, PostgreSQL and replicas of the services, in a random order, again and again."""
    rng = random.Random(SEED)
    print(f"TRELAY_K8S_SEED={SEED}")
    cluster.psql(TABLES, pod="trelay-postgresql-0")
    killed: list[str] = []
    selectors: list[str] = []
    environment = {"DATABASE": DATABASE, "DATABASE_CA": "/database-ca/ca.crt", "OF_ONE_ACCOUNT": OF_ONE_ACCOUNT}
    with load(cluster, rate=RATE, subscribers=SUBSCRIBERS, settle=180, **environment) as verdict:
        end = time.monotonic() + KILLING
        while time.monotonic() < end or selectors:
            selectors = selectors or rng.sample(sorted(VICTIMS), len(VICTIMS))
            selector = selectors.pop()
            pods = [pod["metadata"]["name"] for pod in cluster.get("pods", "-l", selector)]
            killed.append(rng.choice(pods))
            cluster.do("delete", "pod", killed[-1], "--grace-period=1", "--wait=false")
            # With two brokers away, Kafka accepts nothing, as it should.
            cluster.wait_until_rolled_out(VICTIMS[selector])
            time.sleep(rng.uniform(3, 10))
        cluster.wait_until_rolled_out(*VICTIMS.values())
    print(f"killed {len(killed)}: {' '.join(killed)}")
    verdict.check(reconnect_p99=60)
    assert verdict.found["reconnects"] > 0


def test_deleting_it_leaves_nothing(cluster: Cluster, objects: list[Object]) -> None:
    own = [found for found in objects if found["kind"] != "Namespace"]
    given = yaml.safe_dump_all(own)
    cluster.do("delete", "--wait=true", "-f", "-", given=given)
    assert cluster.do("get", "-f", "-", "--ignore-not-found", "-o", "name", given=given) == ""


def _apply(cluster: Cluster, objects: list[Object]) -> list[str]:
    """Apply as `kubectl apply -k` does: the objects name the namespace themselves."""
    done = cluster.run("apply", "-f", "-", given=yaml.safe_dump_all(objects))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
