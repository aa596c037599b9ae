"""Replicas are added and removed under load, by hand and by the autoscaler, and share the work evenly."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.k8s.cluster.deploying import NAMESPACE, SERVICES, SLOW, Cluster, until
from tests.k8s.cluster.load_program import load
from tests.k8s.cluster.overlays import IDLE_SOURCES
from tests.k8s.cluster.stand_ins.metrics_adapter import adapter
from tests.k8s.rendering import MANIFESTS, rendered

pytestmark = pytest.mark.k8s

RATE, SUBSCRIBERS = 50, 30
PARTITIONS = 4
SHARED_WITHIN = 10
"""Seconds from when the replicas are ready."""
GET = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
"""


@pytest.fixture
def scaled(trelay: Cluster) -> Iterator[Cluster]:
    """Trelay with one replica of each service; with two again afterwards."""
    _scale(trelay, 1)
    yield trelay
    _scale(trelay, 2)


def _scale(trelay: Cluster, replicas: int) -> None:
    for service in SERVICES:
        trelay.do("scale", f"deployment/{service}", f"--replicas={replicas}")
    trelay.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    until(lambda: all(len(trelay.pods(service)) == replicas for service in SERVICES), 60, trelay.state)


def test_replicas_that_are_scaled_by_hand_share_the_work(scaled: Cluster) -> None:
    with load(scaled, rate=RATE, subscribers=SUBSCRIBERS) as verdict:
        for replicas in (3, 1):
            _scale(scaled, replicas)
            _check_shared(scaled, replicas)
        time.sleep(3)  # rows go on for a while
    verdict.check(reconnect_p99=5)


def _check_shared(trelay: Cluster, replicas: int) -> None:
    took = until(lambda: _shared(trelay, replicas), 60, lambda: str(_owners(trelay)))
    sources, partitions = _owners(trelay)
    print(f"{replicas} replicas: even after {took:.1f} s, {dict(sources)} {dict(partitions)}")
    assert took <= SHARED_WITHIN * SLOW


def _shared(trelay: Cluster, replicas: int) -> bool:
    """Whether all sources and partitions run, on all replicas, and on none more than one more than on another."""
    sources, partitions = _owners(trelay)
    complete = sources.total() == 1 + IDLE_SOURCES and partitions.total() == PARTITIONS
    return complete and all(
        len(found) == replicas and max(found.values()) - min(found.values()) <= 1 for found in (sources, partitions)
    )


def _owners(trelay: Cluster) -> tuple[Counter[str], Counter[str]]:
    """Return how many sources and partitions each replica has."""
    sources = _get(trelay, "system-api", "http://127.0.0.1:8081/sources")
    feed = _get(trelay, "process-api", "http://127.0.0.1:8082/pipelines/feed")
    return (
        Counter(source["owner"] for source in sources.values() if source["owner"]),
        Counter(found["replica"] for found in feed["partitions"].values() if found["replica"]),
    )


def _get(trelay: Cluster, service: str, url: str) -> dict[str, Any]:
    pod = trelay.pods(service)[0]["metadata"]["name"]
    found: dict[str, Any] = json.loads(trelay.python(pod, GET, url))
    return found


def test_the_autoscaler_follows_the_connections(scaled: Cluster) -> None:
    """The component `autoscaling`, with targets and times for a test, and a small adapter for the metric."""
    target = SUBSCRIBERS // 3
    with adapter(scaled), load(scaled, rate=RATE, subscribers=SUBSCRIBERS) as verdict:
        scaled.apply([_autoscaler(target)])
        try:
            took = until(lambda: _ready(scaled) == 3, 180, scaled.state)
            print(f"3 replicas {took:.0f} s after the autoscaler was made")
            time.sleep(5)
            scaled.apply([_autoscaler(SUBSCRIBERS * 2)])
            took = until(lambda: _ready(scaled) == 1 and len(scaled.pods("experience-api")) == 1, 180, scaled.state)
            print(f"1 replica {took:.0f} s after the target was raised")
            time.sleep(5)
        finally:
            scaled.do("delete", "horizontalpodautoscaler", "experience-api")
    verdict.check(reconnect_p99=5)


def _ready(trelay: Cluster) -> int:
    (found,) = (each for each in trelay.get("deployments") if each["metadata"]["name"] == "experience-api")
    return int(found["status"].get("readyReplicas", 0))


def _autoscaler(connections: int) -> dict[str, Any]:
    """Return the autoscaler of the component: for a number of connections, not for CPU, and without long waits."""
    (found,) = (
        found
        for found in rendered(MANIFESTS / "components" / "autoscaling")
        if found["kind"] == "HorizontalPodAutoscaler" and found["metadata"]["name"] == "experience-api"
    )
    spec = found["spec"]
    spec["metrics"] = [metric for metric in spec["metrics"] if metric["type"] == "Pods"]
    spec["metrics"][0]["pods"]["target"]["averageValue"] = str(connections)
    spec |= {"minReplicas": 1, "maxReplicas": 3}
    spec["behavior"]["scaleDown"] |= {
        "stabilizationWindowSeconds": 0,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
    }
    found["metadata"]["namespace"] = NAMESPACE
    return found
