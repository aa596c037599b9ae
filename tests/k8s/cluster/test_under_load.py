"""Rolling updates, kills and evictions while rows are fed and subscribers resume: each row once, to everybody."""

import os
import random
import time

import pytest

from tests.k8s.cluster.deploying import PYTHON, SERVICES, Cluster, until
from tests.k8s.cluster.load_program import load
from tests.k8s.rendering import Object

pytestmark = pytest.mark.k8s

UPDATE_RATE = int(os.environ.get("TRELAY_K8S_UPDATE_RATE", "500"))
UPDATE_SUBSCRIBERS = int(os.environ.get("TRELAY_K8S_UPDATE_SUBSCRIBERS", "500"))
"""Of rolling updates, where each subscriber asks for a fiftieth of the rows, by a filter."""
RATE = int(os.environ.get("TRELAY_K8S_RATE", "100"))
SUBSCRIBERS = int(os.environ.get("TRELAY_K8S_SUBSCRIBERS", "50"))
OF_ONE_ACCOUNT = os.environ.get("TRELAY_K8S_OF_ONE_ACCOUNT", "")
"""Whether each subscriber asks for a fiftieth of the rows, by a filter, instead of all."""
KILLING = float(os.environ.get("TRELAY_K8S_KILLING", "300"))
"""Seconds."""
WORKLOADS = (*SERVICES, "postgresql", "kafka")
KILL_PYTHON = [PYTHON, "-c", """
import os, pathlib
for process in pathlib.Path("/proc").glob("[0-9]*"):
    if process.name not in {"1", str(os.getpid())} and b"services." in (process / "cmdline").read_bytes():
        os.kill(int(process.name), 9)
"""]  # fmt: skip
KILL_PROCESS = dict.fromkeys(SERVICES, KILL_PYTHON) | {
    # Not where PostgreSQL is process 1 of its container, which no signal of its own container ends.
    "postgresql": ["sh", "-c", 'kill -9 "$(head -1 "$PGDATA/postmaster.pid")"'],
}
"""Kills the process in a container; Kubernetes starts the container again in its pod."""
SEED = int(os.environ.get("TRELAY_K8S_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


@pytest.mark.parametrize("service", SERVICES)
def test_a_rolling_update_loses_and_repeats_nothing(trelay: Cluster, service: str) -> None:
    with load(trelay, rate=UPDATE_RATE, subscribers=UPDATE_SUBSCRIBERS, OF_ONE_ACCOUNT="1") as verdict:
        trelay.do("rollout", "restart", f"deployment/{service}")
        trelay.wait_until_rolled_out(f"deployment/{service}")
        # A replica that drains is no longer counted; it is gone when its connections have gone.
        until(lambda: len(_all_pods(trelay, service)) == len(trelay.pods(service)), 120, trelay.state)
        time.sleep(3)  # rows go on for a while after the update
    verdict.check(reconnect_p99=5)
    if service != "experience-api":
        assert verdict.found["reconnects"] == 0
    else:
        assert verdict.found["reconnects"] >= UPDATE_SUBSCRIBERS


def _all_pods(trelay: Cluster, service: str) -> list[Object]:
    return trelay.get("pods", "-l", f"app.kubernetes.io/component={service}")


def test_kills_lose_and_repeat_nothing(trelay: Cluster) -> None:
    """A pod of each workload, in a random order, again and again: its process is killed, or the pod with it."""
    rng = random.Random(SEED)
    print(f"TRELAY_K8S_SEED={SEED}")
    killed: list[str] = []
    workloads: list[str] = []
    with load(trelay, rate=RATE, subscribers=SUBSCRIBERS, settle=180, OF_ONE_ACCOUNT=OF_ONE_ACCOUNT) as verdict:
        end = time.monotonic() + KILLING
        while time.monotonic() < end or workloads:
            workloads = workloads or rng.sample(WORKLOADS, len(WORKLOADS))
            killed.append(_kill(trelay, workloads.pop(), rng))
            time.sleep(rng.uniform(3, 10))
        trelay.wait_until_rolled_out("statefulset/postgresql", "statefulset/kafka")
        trelay.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    print(f"killed {len(killed)}: {' '.join(killed)}")
    verdict.check(reconnect_p99=60)
    assert verdict.found["reconnects"] > 0


def _kill(trelay: Cluster, workload: str, rng: random.Random) -> str:
    """Kill one pod of a workload, and return what was done."""
    pods = trelay.pods(workload)
    if not pods:
        return f"none-of-{workload}"
    pod = str(rng.choice(pods)["metadata"]["name"])
    process = KILL_PROCESS.get(workload)
    if process and rng.random() < 1 / 2:
        # It fails where the container is just starting again.
        done = trelay.run("-n", "trelay", "exec", pod, "--", *process)
        return f"{pod}/process" if done.returncode == 0 else f"{pod}/not-running"
    # SIGKILL comes after one second. --force would start the next pod of a StatefulSet beside the one that still runs,
    # and two servers on one volume destroy its data.
    trelay.run("-n", "trelay", "delete", "pod", pod, "--grace-period=1", "--wait=false")
    return pod


def test_a_drain_of_a_node_loses_and_repeats_nothing(trelay: Cluster) -> None:
    """`kubectl drain` evicts the replicas of a node within their budgets; they run on the other nodes then."""
    stateful = {_node(pod) for name in ("postgresql", "kafka") for pod in trelay.pods(name)}
    others = {node["metadata"]["name"] for node in trelay.get("nodes")} - stateful
    if not others:
        pytest.skip("each node of this cluster holds a volume; expected a node without one, to be drained")
    node = min(others)
    trelay.do("uncordon", node)
    for service in SERVICES:  # else an earlier drain decides where they run
        trelay.do("rollout", "restart", f"deployment/{service}")
    trelay.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    moved = [pod for service in SERVICES for pod in trelay.pods(service) if _node(pod) == node]
    assert len(moved) >= len(SERVICES), trelay.state()
    selector = f"app.kubernetes.io/component in ({','.join(SERVICES)})"
    try:
        with load(trelay, rate=RATE, subscribers=SUBSCRIBERS) as verdict:
            began = time.monotonic()
            trelay.do("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={selector}",
                      "--timeout=240s", timeout=300)  # fmt: skip
            print(f"drained {len(moved)} pods in {time.monotonic() - began:.1f} s")
            trelay.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
            time.sleep(3)  # rows go on for a while
    finally:
        trelay.do("uncordon", node)
    verdict.check(reconnect_p99=5)
    assert not [pod for service in SERVICES for pod in trelay.pods(service) if _node(pod) == node]


def _node(pod: Object) -> str:
    return str(pod["spec"].get("nodeName", ""))


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
