"""Cert-manager itself issues and renews the certificate of the listener, and connections do not notice."""

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.k8s.cluster.conftest import deploy
from tests.k8s.cluster.deploying import NAMESPACE, SERVICES, Cluster, until
from tests.k8s.cluster.load_program import POD, load
from tests.k8s.cluster.operators import building, cert_manager
from tests.k8s.cluster.overlays import certificate
from tests.k8s.rendering import MANIFESTS, Object

pytestmark = pytest.mark.k8s

HOST = f"experience-api.{NAMESPACE}.svc"
RATE, SUBSCRIBERS = 30, 10
ARRIVES_WITHIN = 240
"""Seconds until another certificate is shown: it is renewed after a minute, and the kubelet brings it in another."""
SHORT_LIVED = {"duration": "1h", "renewBefore": "59m"}

SERIAL = f"""
import socket, ssl, sys
context = ssl.create_default_context(cafile="/authority/ca.crt")
with context.wrap_socket(socket.create_connection((sys.argv[1], 8080)), server_hostname="{HOST}") as connection:
    print(connection.getpeercert()["serialNumber"])
"""


@pytest.fixture(scope="module")
def issued(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Trelay, with the Certificate of the component `cert-manager` in place of a Secret."""
    if reason := building.missing():
        pytest.skip(reason)
    cluster.delete_namespace()
    try:
        cert_manager.install(cluster)
        deploy(cluster, tmp_path_factory.mktemp("local"), certificates=_certificates())
        yield cluster
    finally:
        cluster.delete_namespace()
        cert_manager.uninstall(cluster)


def test_a_certificate_is_issued_and_renewed_without_a_lost_connection(issued: Cluster) -> None:
    secret = json.loads(issued.do("get", "secret", "experience-api-tls", "-o", "json"))
    assert secret["metadata"]["annotations"]["cert-manager.io/issuer-name"] == cert_manager.ISSUER
    assert set(secret["data"]) == set(certificate())  # as in the other tests
    before = _running(issued)
    with load(issued, rate=RATE, subscribers=SUBSCRIBERS, URL=f"https://{HOST}:8080") as verdict:
        seen = [_shown(issued)]
        issued.do("patch", "certificate", "experience-api", "--type=merge", "-p", json.dumps({"spec": SHORT_LIVED}))
        # The first is issued because the wish has changed, the second because the time of renewal has come.
        for _ in range(2):
            took = until(lambda: not _shown(issued) & seen[-1], ARRIVES_WITHIN, lambda: _state(issued))
            print(f"a new certificate was shown after {took:.0f} s")
            seen.append(_shown(issued))
    verdict.check(reconnect_p99=0)
    assert verdict.found["reconnects"] == 0
    assert _running(issued) == before, "a pod was restarted"


def test_the_webhook_of_cert_manager_accepts_what_we_ask_and_refuses_nonsense(issued: Cluster) -> None:
    (asked,) = _certificates()
    asked["spec"]["renewBefore"] = "9999h"
    refused = issued.run("-n", NAMESPACE, "apply", "--dry-run=server", "-f", "-", given=yaml.safe_dump(asked))
    assert "renewBefore" in refused.stderr
    assert refused.returncode != 0


def _certificates() -> list[Object]:
    text = (MANIFESTS / "components" / "cert-manager" / "certificates.yaml").read_text()
    return list(yaml.safe_load_all(text))


def _shown(issued: Cluster) -> set[str]:
    """Return the serial numbers of the certificates that the replicas show."""
    return {issued.python(POD, SERIAL, pod["status"]["podIP"]).strip() for pod in issued.pods("experience-api")}


def _running(issued: Cluster) -> set[tuple[str, int]]:
    return {
        (pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"])
        for service in SERVICES
        for pod in issued.pods(service)
    }


def _state(issued: Cluster) -> str:
    return issued.do("describe", "certificate,certificaterequest") + issued.state()
