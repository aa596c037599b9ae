"""An upgrade to this release from another one with an older database, and back, under load."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s.cluster.conftest import deploy
from tests.k8s.cluster.deploying import REGISTRY, SERVICES, VERSION, Cluster
from tests.k8s.cluster.load_program import load

pytestmark = pytest.mark.k8s

PREVIOUS = os.environ.get("TRELAY_K8S_PREVIOUS", "")
RATE = int(os.environ.get("TRELAY_K8S_RATE", "100"))
SUBSCRIBERS = int(os.environ.get("TRELAY_K8S_SUBSCRIBERS", "50"))
REVISION = "SELECT version_num FROM trelay.alembic_version"


@pytest.fixture
def previous(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """Trelay of the previous release, with its database."""
    if not PREVIOUS:
        pytest.skip("TRELAY_K8S_PREVIOUS names the tag of the images of another release; docs/operations/testing.md")
    deploy(cluster, tmp_path, PREVIOUS)
    yield cluster
    cluster.delete_namespace()


def test_an_upgrade_and_a_rollback_lose_and_repeat_nothing(previous: Cluster) -> None:
    before = previous.psql(REVISION)
    with load(previous, rate=RATE, subscribers=SUBSCRIBERS, settle=180, version=PREVIOUS) as verdict:
        _update(previous, VERSION)
        after = previous.psql(REVISION)
        print(f"the database went from revision {before} to {after}")
        assert after > before, "the releases have the same database; expected a migration between them"
        time.sleep(5)
        _update(previous, PREVIOUS)
        assert previous.psql(REVISION) == after
        time.sleep(5)
        _update(previous, VERSION)
        time.sleep(3)  # rows go on for a while
    verdict.check(reconnect_p99=5)


def _update(cluster: Cluster, version: str) -> None:
    for service in SERVICES:
        cluster.do("set", "image", f"deployment/{service}", f"{service}={REGISTRY}/{service}:{version}")
    cluster.wait_until_rolled_out(*(f"deployment/{service}" for service in SERVICES))
    for service in SERVICES:
        restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.pods(service)]
        assert set(restarts) == {0}, cluster.state()
