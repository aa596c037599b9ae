"""Secrets are rotated under load: no connection is lost, and nothing is restarted."""

import base64
import json
import time
from collections.abc import Iterator

import pytest

from tests.k8s.cluster.deploying import SERVICES, Cluster, until
from tests.k8s.cluster.load_program import POD, load
from tests.k8s.cluster.overlays import PASSWORD, certificate

pytestmark = pytest.mark.k8s

RATE, SUBSCRIBERS = 50, 20
ARRIVES_WITHIN = 180
"""Seconds until the kubelets have brought a changed Secret into all pods."""
NEW_PASSWORD = "another-password"
NEW_KEY = "the-second-signing-key-of-the-tests-on-a-cluster"

SERIAL = """
import socket, ssl, sys
context = ssl.create_default_context(cafile="/authority/ca.crt")
with context.wrap_socket(socket.create_connection((sys.argv[1], 8080)), server_hostname="experience-api") as connection:
    print(connection.getpeercert()["serialNumber"])
"""
REGISTER = """
import json, ssl, sys, urllib.error, urllib.request
headers = {"Client-Id": sys.argv[1], "Client-Secret": sys.argv[2]}
request = urllib.request.Request("https://experience-api:8080/consumers", b"", headers)
try:
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile="/authority/ca.crt")) as answer:
        print(json.load(answer)["token"])
except urllib.error.HTTPError as exc:
    print(exc.code)
"""
CONNECT = """
import asyncio, ssl, sys, aiohttp
async def main():
    trusted = ssl.create_default_context(cafile="/authority/ca.crt")
    headers = {"Authorization": f"Bearer {sys.argv[1]}"}
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect("https://experience-api:8080/ws/publish", headers=headers, ssl=trusted) as socket:
            print((await socket.receive_json())["type"])
asyncio.run(main())
"""


@pytest.fixture
def rotating(trelay: Cluster) -> Iterator[Cluster]:
    """Trelay, whose secrets are what they were again afterwards."""
    yield trelay
    trelay.delete_namespace()


def test_secrets_are_rotated_without_a_lost_connection(rotating: Cluster) -> None:
    prefix = f"rotated-{time.time_ns()}"
    before = _running(rotating)
    with load(rotating, rate=RATE, subscribers=SUBSCRIBERS, PREFIX=prefix) as verdict:
        old_token = _register(rotating, _add_client(rotating, "before"))
        assert _key(old_token) == "k1"
        serials = _serials(rotating)

        _patch(rotating, "trelay-tokens", k2=NEW_KEY)
        _patch(rotating, "experience-api-tls", **certificate())
        _patch(rotating, "trelay-database", password=NEW_PASSWORD)
        took = until(lambda: _arrived(rotating), ARRIVES_WITHIN, rotating.state)
        print(f"the changed Secrets were in all pods after {took:.0f} s")

        _database_password(rotating)
        until(lambda: not set(serials.values()) & set(_serials(rotating).values()), 30, rotating.state)
        client = _add_client(rotating, "after")
        until(lambda: _key(_register(rotating, client)) == "k2", 40, rotating.state)
        assert rotating.python(POD, CONNECT, old_token).strip() == "trelay.connected"
        _client_secret(rotating, f"{prefix}-0", _add_client(rotating, "third"))
        time.sleep(5)  # rows go on for a while
    verdict.check(reconnect_p99=0)
    assert verdict.found["reconnects"] == 0
    assert _running(rotating) == before, "a pod was restarted"


def _running(trelay: Cluster) -> set[tuple[str, int]]:
    return {
        (pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"])
        for service in SERVICES
        for pod in trelay.pods(service)
    }


def _patch(trelay: Cluster, secret: str, **content: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
    trelay.do("patch", "secret", secret, "--patch", json.dumps({"data": data}))


def _arrived(trelay: Cluster) -> bool:
    paths = ("database/password", "database/password", "tokens/k2")
    services = ("system-api", "experience-api", "experience-api")
    return all(
        _content(trelay, pod["metadata"]["name"], path) in {NEW_PASSWORD, NEW_KEY}
        for path, service in zip(paths, services, strict=True)
        for pod in trelay.pods(service)
    )


def _content(trelay: Cluster, pod: str, secret: str) -> str:
    return trelay.run("-n", "trelay", "exec", pod, "--", "cat", f"/run/secrets/trelay/{secret}").stdout


def _database_password(trelay: Cluster) -> None:
    """Change it in the server, and have every connection opened again with it."""
    trelay.psql(f"ALTER ROLE trelay PASSWORD '{NEW_PASSWORD}'", PASSWORD)
    others = "datname = 'trelay' AND pid <> pg_backend_pid() AND application_name LIKE 'trelay %'"
    count = f"SELECT count(*) FROM pg_stat_activity WHERE {others}"
    ended = trelay.psql(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {others}", NEW_PASSWORD)
    assert int(ended) > 0
    until(lambda: int(trelay.psql(count, NEW_PASSWORD)) > 0, 30, trelay.state)
    for service in ("system-api", "experience-api"):
        log = "".join(trelay.log(pod["metadata"]["name"]) for pod in trelay.pods(service))
        assert "database password changed" in log, log[-2000:]
        assert "password authentication failed" not in log


def _client_secret(trelay: Cluster, connected: str, client: tuple[str, str]) -> None:
    """Rotate the secret of a client that is connected, and that of one that registers with each."""
    _trelay(trelay, "clients", "rotate", connected, "--overlap", "0")
    name, old = client
    new = json.loads(_trelay(trelay, "clients", "rotate", name, "--overlap", "60", "--json"))["client_secret"]
    assert _register(trelay, (name, old)).count(".") == _register(trelay, (name, new)).count(".") == 2, "no token"
    _trelay(trelay, "clients", "rotate", name, "--overlap", "0")
    assert _register(trelay, (name, new)) == "401"


def _add_client(trelay: Cluster, name: str) -> tuple[str, str]:
    name = f"{name}-{time.time_ns()}"
    return name, json.loads(_trelay(trelay, "clients", "add", name, "--json"))["client_secret"]


def _trelay(trelay: Cluster, *arguments: str) -> str:
    return trelay.do("exec", "deployment/system-api", "--", "/opt/trelay/bin/trelay", *arguments)


def _register(trelay: Cluster, client: tuple[str, str]) -> str:
    return trelay.python(POD, REGISTER, *client).strip()


def _key(token: str) -> str:
    """Return the id of the key that signed a token; nothing for the status of a refusal."""
    if "." not in token:
        return ""
    header = token.partition(".")[0]
    key: str = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    return key


def _serials(trelay: Cluster) -> dict[str, str]:
    """Return the serial number of the certificate that each replica shows."""
    pods = trelay.pods("experience-api")
    return {pod["metadata"]["name"]: trelay.python(POD, SERIAL, pod["status"]["podIP"]).strip() for pod in pods}
