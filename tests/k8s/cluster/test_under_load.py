"""Rolling updates, kills and evictions while rows are fed and subscribers resume: each row once, to everybody."""

import os
import random
import time

import pytest

from tests.k8s.cluster.deploying import SERVICES, Cluster
from tests.k8s.cluster.load_program import load

pytestmark = pytest.mark.k8s

RATE = int(os.environ.get("TRELAY_K8S_RATE", "100"))
SUBSCRIBERS = int(os.environ.get("TRELAY_K8S_SUBSCRIBERS", "50"))
KILLING = float(os.environ.get("TRELAY_K8S_KILLING", "60"))
WORKLOADS = (*SERVICES, "postgresql", "kafka")
SEED = int(os.environ.get("TRELAY_K8S_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


@pytest.mark.parametrize("service", SERVICES)
def test_a_rolling_update_loses_and_repeats_nothing(trelay: Cluster, service: str) -> None:
    with load(trelay, rate=RATE, subscribers=SUBSCRIBERS) as verdict:
        trelay.do("rollout", "restart", f"deployment/{service}")
        trelay.wait_until_rolled_out(f"deployment/{service}")
        time.sleep(3)  # rows go on for a while after the update
    verdict.check(reconnect_p99=5)
    if service != "experience-api":
        assert verdict.found["reconnects"] == 0


def test_killed_pods_lose_and_repeat_nothing(trelay: Cluster) -> None:
    """A pod of each workload, in a random order, again and again."""
    rng = random.Random(SEED)
    print(f"TRELAY_K8S_SEED={SEED}")
    killed: list[str] = []
    workloads: list[str] = []
    with load(trelay, rate=RATE, subscribers=SUBSCRIBERS, settle=180) as verdict:
        end = time.monotonic() + KILLING
        while time.monotonic() < end or workloads:
            workloads = workloads or rng.sample(WORKLOADS, len(WORKLOADS))
            pods = trelay.get("pods", "-l", f"app.kubernetes.io/component={workloads.pop()}")
            victim = rng.choice([pod["metadata"]["name"] for pod in pods])
            killed.append(victim)
            # SIGKILL comes after one second. --force would start the next pod of a StatefulSet beside the one that
            # still runs, and two servers on one volume destroy its data.
            trelay.run("-n", "trelay", "delete", "pod", victim, "--grace-period=1", "--wait=false")
            time.sleep(rng.uniform(3, 10))
        trelay.wait_until_rolled_out("statefulset/postgresql", "statefulset/kafka")
        trelay.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    print(f"killed {len(killed)}: {' '.join(killed)}")
    verdict.check(reconnect_p99=60)
    assert verdict.found["reconnects"] > 0


def test_an_eviction_beyond_the_budget_is_refused(trelay: Cluster) -> None:
    """One replica of a service may be away at a time, as `kubectl drain` asks."""
    for service in SERVICES:
        pods = trelay.get("pods", "-l", f"app.kubernetes.io/component={service}")
        answers = [_evict(trelay, pod["metadata"]["name"]) for pod in pods[:2]]
        assert "Cannot evict pod" not in answers[0], answers
        assert "Cannot evict pod" in answers[1], answers
        trelay.wait_until_rolled_out(f"deployment/{service}")


def _evict(trelay: Cluster, pod: str) -> str:
    eviction = (
        f'{{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {{"name": "{pod}", "namespace": "trelay"}}}}'
    )
    path = f"/api/v1/namespaces/trelay/pods/{pod}/eviction"
    done = trelay.run("create", "--raw", path, "-f", "-", given=eviction)
    return done.stdout + done.stderr
