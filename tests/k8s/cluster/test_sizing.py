"""Measures memory and CPU of each pod by connections and by events: the table of docs/operations/scaling.md."""

import json
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.k8s.cluster.deploying import SERVICES, Cluster, until
from tests.k8s.cluster.load_program import POD, load, start, stop

pytestmark = pytest.mark.k8s

CONNECTIONS = [int(each) for each in os.environ.get("TRELAY_K8S_CONNECTIONS", "0,1000,5000").split(",")]
RATES = [int(each) for each in os.environ.get("TRELAY_K8S_RATES", "100,1000").split(",")]
STEADY = float(os.environ.get("TRELAY_K8S_STEADY", "20"))
"""Seconds over which the CPU is measured, after as many to settle."""
LIMITS = {"system-api": 512, "process-api": 512, "experience-api": 1024}
"""MiB that the base allows."""

USAGE = """
import urllib.request
found = {}
for line in urllib.request.urlopen("http://127.0.0.1:9090/metrics", timeout=10).read().decode().splitlines():
    if line.startswith("process_"):
        name, value = line.split()
        found[name] = float(value)
import json
print(json.dumps(found))
"""


class Usage(NamedTuple):
    """What a pod uses."""

    memory: float
    """MiB."""
    cpu: float
    """Cores."""


@pytest.fixture
def single(trelay: Cluster) -> Iterator[Cluster]:
    """Trelay with one replica of each service, just started, and two again afterwards."""
    for service in SERVICES:
        trelay.do("scale", f"deployment/{service}", "--replicas=1")
        trelay.do("rollout", "restart", f"deployment/{service}")
    trelay.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    until(lambda: all(len(trelay.pods(service)) == 1 for service in SERVICES), 60, trelay.state)
    yield trelay
    for service in SERVICES:
        trelay.do("scale", f"deployment/{service}", "--replicas=2")
    trelay.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))


def test_what_connections_cost(single: Cluster) -> None:
    for connections in CONNECTIONS:
        if not connections:
            _report("0 connections, 0 events/s", _measured(single))
            continue
        start(single, "connections", CONNECTIONS=str(connections))
        until(lambda: "connected" in single.log(POD), 300, lambda: single.log(POD) + single.state())
        print(single.log(POD).splitlines()[0])
        found = _measured(single)
        _report(f"{connections} connections, 0 events/s", found)
        verdict = stop(single, 60)
        assert verdict["open"] == connections
        assert verdict["ended"] == 0
        _check(found)


def test_what_events_cost(single: Cluster) -> None:
    for rate in RATES:
        with load(single, rate=rate, subscribers=1) as verdict:
            found = _measured(single)
        verdict.check(reconnect_p99=0)
        _report(f"1 connection, {verdict.found['rows_per_second']} events/s (asked for {rate})", found)
        _check(found)


def _measured(trelay: Cluster) -> dict[str, Usage]:
    time.sleep(STEADY)
    first, began = _usage(trelay), time.monotonic()
    time.sleep(STEADY)
    last, took = _usage(trelay), time.monotonic() - began
    return {
        service: Usage(
            last[service]["process_resident_memory_bytes"] / 2**20,
            (last[service]["process_cpu_seconds_total"] - first[service]["process_cpu_seconds_total"]) / took,
        )
        for service in SERVICES
    }


def _usage(trelay: Cluster) -> dict[str, dict[str, float]]:
    return {service: json.loads(trelay.python(f"deployment/{service}", USAGE)) for service in SERVICES}


def _report(load: str, found: dict[str, Usage]) -> None:
    cells = [f"{usage.memory:.0f} MiB, {usage.cpu:.2f} cores" for usage in found.values()]
    print(f"| {load} | {' | '.join(cells)} |")


def _check(found: dict[str, Usage]) -> None:
    for service, usage in found.items():
        assert usage.memory < LIMITS[service], f"{service} needs more memory than the base allows"
