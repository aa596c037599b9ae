"""The Prometheus Operator loads our PodMonitor and PrometheusRule, and its Prometheus scrapes and evaluates them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.k8s.cluster.conftest import REPLICAS
from tests.k8s.cluster.deploying import NAMESPACE, SERVICES, Cluster, until
from tests.k8s.cluster.operators import building, prometheus
from tests.k8s.cluster.overlays import IDLE_SOURCES
from tests.k8s.rendering import MANIFESTS, Object, documents

pytestmark = pytest.mark.k8s

JOB = f"{NAMESPACE}/trelay"
LOADED_WITHIN = 180
"""Seconds: the kubelet brings changed rules into the pod of Prometheus in about a minute."""
DOWN = 'ALERTS{alertname=~"TrelaySource(Down|Degraded)",source=~"idle-.*"}'


@pytest.fixture(scope="module")
def monitored(trelay: Cluster) -> Iterator[Cluster]:
    """Trelay, with the components `pod-monitor` and `prometheus-rules`."""
    if reason := building.missing():
        pytest.skip(reason)
    objects = [*_component("pod-monitor"), *_component("prometheus-rules")]
    try:
        prometheus.install(trelay)
        trelay.apply(objects)
        yield trelay
    finally:
        prometheus.uninstall(trelay)


def test_every_replica_is_scraped(monitored: Cluster) -> None:
    expected = dict.fromkeys(SERVICES, REPLICAS)
    took = until(lambda: _scraped(monitored) == expected, LOADED_WITHIN, lambda: _targets(monitored))
    print(f"all replicas were scraped after {took:.0f} s")


def test_every_rule_is_loaded_and_evaluated(monitored: Cluster) -> None:
    (written,) = _component("prometheus-rules")
    expected = Counter(
        rule.get("alert") or rule["record"] for group in written["spec"]["groups"] for rule in group["rules"]
    )
    took = until(lambda: _evaluated(monitored) == expected, LOADED_WITHIN, lambda: str(_rules(monitored)))
    print(f"{expected.total()} rules were evaluated after {took:.0f} s")
    until(lambda: _count(monitored, "trelay:source_fresh:bool") == 1 + IDLE_SOURCES, LOADED_WITHIN, monitored.state)


def test_an_alert_is_raised_and_resolved(monitored: Cluster) -> None:
    assert _count(monitored, DOWN) == 0
    monitored.psql("ALTER TABLE idle RENAME TO away")
    try:
        took = until(lambda: _count(monitored, DOWN) >= IDLE_SOURCES, LOADED_WITHIN, monitored.state)
        print(f"the alerts of {IDLE_SOURCES} sources were raised after {took:.0f} s")
    finally:
        monitored.psql("ALTER TABLE away RENAME TO idle")
    took = until(lambda: _count(monitored, DOWN) == 0, LOADED_WITHIN, monitored.state)
    print(f"they were resolved after {took:.0f} s")


def _component(name: str) -> list[Object]:
    (path,) = (MANIFESTS / "components" / name).glob("p*.yaml")
    return documents(path.read_text())


def _scraped(monitored: Cluster) -> dict[str, int]:
    up = prometheus.ask(monitored, "query", query=f'up{{job="{JOB}"}} == 1')["result"]
    return dict(Counter(each["metric"]["app_kubernetes_io_component"] for each in up))


def _targets(monitored: Cluster) -> str:
    return str(prometheus.ask(monitored, "targets", state="active"))


def _rules(monitored: Cluster) -> list[dict[str, Any]]:
    groups = prometheus.ask(monitored, "rules")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _evaluated(monitored: Cluster) -> Counter[str]:
    """Return the names of the rules that were evaluated without an error."""
    return Counter(rule["name"] for rule in _rules(monitored) if rule["health"] == "ok")


def _count(monitored: Cluster, expression: str) -> int:
    result = prometheus.ask(monitored, "query", query=f"count({expression})")["result"]
    return int(result[0]["value"][1]) if result else 0
