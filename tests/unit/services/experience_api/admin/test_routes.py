"""The admin API on a real socket, with everything else in memory."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.experience_api.admin.documents import files
from services.experience_api.admin.operations import OPERATIONS
from shared.composition.serving import RunningService
from tests.described import Described, routes_of
from tests.integration.services.experience_api.producers import in_memory

TOKENS = {"alice": "alice-0123456789abcdef0123", "robot": "robot-0123456789abcdef0123"}
ADMIN = {"listen": {"port": 0}, "operators": {name: {"token": token} for name, token in TOKENS.items()}}
OPENAPI = Described(files())


class Admin:
    """An operator."""

    def __init__(self, url: str, http: aiohttp.ClientSession, token: str) -> None:
        self.url = url
        self._http = http
        self.headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: Any = None, expected: int = 200) -> Any:
        """Return the JSON of an answer, which agrees with the document."""
        data = None if body is None else io.BytesIO(json.dumps(body).encode())
        headers = self.headers | ({} if body is None else {"Content-Type": "application/json"})
        async with self._http.request(method, self.url + path, data=data, headers=headers) as response:
            found = await response.json(content_type=None)
            assert response.status == expected, found
        OPENAPI.check(method, path, expected, found)
        return found


@pytest.fixture
async def service() -> AsyncIterator[RunningService]:
    async with in_memory({"admin": ADMIN}) as service:
        yield service


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
async def admin(service: RunningService, http: aiohttp.ClientSession) -> Admin:
    assert service.admin is not None
    return Admin(service.admin.url, http, TOKENS["alice"])


def test_the_file_is_valid_and_up_to_date() -> None:
    """`make docs` writes it."""
    assert OPENAPI.path.read_text() == OPENAPI.text
    OpenAPIV31SpecValidator(OPENAPI.document).validate()


async def test_every_endpoint_is_described_refuses_strangers_and_is_on_no_other_port(
    service: RunningService, admin: Admin, http: aiohttp.ClientSession
) -> None:
    async with http.get(admin.url + "/openapi.json") as response:
        served = await response.json()
    routes = routes_of(served)
    assert routes == OPERATIONS.keys()
    for method, path in routes - {("GET", "/openapi.json")}:
        at = path.replace("{client_id}", "demo").replace("{connection_id}", "x")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
            async with http.request(method, admin.url + at, headers=headers, data=b"x" * 100_000) as response:
                assert (response.status, response.content_type) == (401, "application/problem+json"), (method, path)
                assert response.headers["WWW-Authenticate"]
                assert (await response.json(content_type=None))["code"] == "unauthorized"
        if path != "/events":
            token = {"Authorization": f"Bearer {TOKENS['alice']}"}
            async with http.request(method, service.listening.url + at, headers=token) as response:
                assert response.status in {404, 405}, (method, path)


async def test_without_operators_this_machine_is_accepted_and_a_browser_on_it_not(http: aiohttp.ClientSession) -> None:
    async with in_memory({"admin": {"listen": {"port": 0}}}) as service:
        assert service.admin is not None
        async with http.get(service.admin.url + "/clients") as response:
            assert response.status == 200
        for headers in ({"Origin": "https://evil.example.com"}, {"Host": "evil.example.com"}):
            async with http.get(service.admin.url + "/clients", headers=headers) as response:
                assert response.status in {403, 421}, headers
    async with in_memory({}) as service:
        assert service.admin is None


async def test_a_client_from_its_creation_to_its_removal(
    service: RunningService, admin: Admin, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "shared.http.commands")
    added = await admin.call("POST", "/clients", {"client_id": "shop", "channels": ["orders.**"]}, 201)
    await admin.call("POST", "/clients", {"client_id": "shop"}, 409)
    changed = await admin.call("PATCH", "/clients/shop", {"channels": ["orders.eu"], "note": "team shop"})
    assert (changed["channels"], changed["note"], changed["policy"]) == (["orders.eu"], "team shop", "probe")
    rotated = await admin.call("POST", "/clients/shop/rotate", {"overlap": 60})
    assert rotated["previous_secret_until"] is not None
    for secret in (added["client_secret"], rotated["client_secret"]):
        credentials = {"Client-Id": "shop", "Client-Secret": secret}
        async with http.post(service.listening.url + "/consumers", headers=credentials) as response:
            assert response.status == 201
    assert (await admin.call("GET", "/consumers/shop"))["connections"] == []
    assert (await admin.call("POST", "/clients/shop/revoke"))["revoked"]
    await admin.call("GET", "/consumers/shop", expected=404)
    assert (await admin.call("POST", "/clients/shop/disable"))["disabled"]
    assert not (await admin.call("POST", "/clients/shop/enable"))["disabled"]
    assert await admin.call("DELETE", "/clients/shop") == {"client_id": "shop", "removed": True}
    await admin.call("GET", "/clients/shop", expected=404)
    lines = [record.__dict__ for record in caplog.records]
    assert [line["command"] for line in lines] == [
        "client-add", "client-set", "client-rotate", "client-revoke", "client-disable", "client-enable", "client-remove"
    ]  # fmt: skip
    assert {(line["operator"], line["address"], line["client_id"]) for line in lines} == {
        ("alice", "127.0.0.1", "shop")
    }
    assert not any(secret in caplog.text for secret in (added["client_secret"], rotated["client_secret"]))


async def test_clients_are_listed_page_by_page(admin: Admin) -> None:
    for number in range(4):
        await admin.call("POST", "/clients", {"client_id": f"c{number}", "secret": "chosen by its owner"}, 201)
    names, after = [], ""
    while after is not None:
        page = await admin.call("GET", f"/clients?limit=2{after and f'&after={after}'}")
        assert len(page["clients"]) <= 2
        names += [client["client_id"] for client in page["clients"]]
        after = page["next"]
    assert names == ["c0", "c1", "c2", "c3", "demo"]


async def test_a_connection_is_shown_and_ended(
    service: RunningService, admin: Admin, http: aiohttp.ClientSession
) -> None:
    credentials = {"Client-Id": "demo", "Client-Secret": "demo"}
    async with http.post(service.listening.url + "/consumers", headers=credentials) as response:
        token = (await response.json())["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    async with http.ws_connect(service.listening.url + "/ws/publish?channels=a", headers=bearer) as socket:
        first = await socket.receive_json()
        (consumer,) = (await admin.call("GET", "/consumers"))["consumers"]
        (found,) = consumer["connections"]
        assert (found["connection_id"], found["channels"]) == (first["data"]["connection"], ["a"])
        assert (found["live"], found["lag"], found["cursor"]) == (True, 0, first["cursor"])
        assert found["from"] == "127.0.0.1"
        ended = await admin.call("DELETE", f"/connections/{found['connection_id']}")
        assert ended["client_id"] == "demo"
        message = await socket.receive()
        assert (message.data, message.extra) == (4007, "disconnected by an operator; wait=1.0")
        await admin.call("DELETE", f"/connections/{found['connection_id']}", expected=404)
    async with http.ws_connect(service.listening.url + "/ws/publish", headers=bearer) as socket:
        await socket.receive_json()


async def test_events_are_published_to_any_channel_and_read_back(admin: Admin) -> None:
    start = (await admin.call("GET", "/events"))["cursor"]
    for number in range(5):
        assert (await admin.call("POST", f"/events?channel=c{number % 2}", {"n": number}, 202))["accepted"] == 1
    await admin.call("POST", "/events?channel=trelay..x", 1, 400)
    await admin.call("POST", "/events", 1, 400)
    seen, cursor = [], start
    for _ in range(2):
        found = await admin.call("GET", f"/events?cursor={cursor}&limit=2&channels=c0")
        seen += [event["data"]["n"] for event in found["events"]]
        cursor = found["cursor"]
    assert seen == [0, 2, 4]
    everything = await admin.call("GET", "/events?since=earliest&limit=10")
    assert [event["data"]["n"] for event in everything["events"]] == [0, 1, 2, 3, 4]
    assert (await admin.call("GET", f"/events?cursor={everything['cursor']}&wait=0"))["events"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/clients/a%00b", None, 404),
        ("GET", "/clients/..%2f..%2fetc", None, 404),
        ("PATCH", "/clients/demo", {"channels": ["a..b"]}, 400),
        ("PATCH", "/clients/demo", {"disabled": True}, 400),
        ("PATCH", "/clients/demo", {"max_connections": 0}, 400),
        ("PATCH", "/clients/demo", {"max_connections": 10**30}, 400),
        ("PATCH", "/clients/demo", {"max_connections": 1.5}, 400),
        ("PATCH", "/clients/nobody", {"note": "x"}, 404),
        ("POST", "/clients", {"client_id": "a b"}, 400),
        ("POST", "/clients", {"client_id": "x", "note": "a\0b"}, 400),
        ("POST", "/clients", {"client_id": "x", "secret": ""}, 400),
        ("POST", "/clients", {"client_id": "x", "note": "x" * 2_000_000}, 413),
        ("POST", "/clients/demo/rotate", {"overlap": -1}, 400),
        ("POST", "/clients/demo/rotate", {"overlap": 1e300}, 400),
        ("POST", "/clients/demo/disable", {"reason": "x"}, 400),
        ("DELETE", "/connections/not-a-uuid", None, 404),
        ("GET", "/clients?limit=0", None, 400),
        ("GET", "/consumers?after=%00", None, 400),
        ("GET", "/events?limit=10001", None, 400),
        ("GET", "/events?since=yesterday", None, 400),
    ],
)
async def test_what_is_invalid_is_refused_and_changes_nothing(
    admin: Admin, method: str, path: str, body: Any, status: int
) -> None:
    before = await admin.call("GET", "/clients")
    refused = await admin.call(method, path, body, status)
    assert refused["detail"]
    assert await admin.call("GET", "/clients") == before


async def test_two_operators_at_once_both_get_a_right_answer(admin: Admin, http: aiohttp.ClientSession) -> None:
    other = Admin(admin.url, http, TOKENS["robot"])

    async def status(operator: Admin, method: str, path: str, body: Any = None) -> int:
        headers = operator.headers
        async with http.request(method, operator.url + path, json=body, headers=headers) as response:
            return response.status

    for _ in range(3):
        new = {"client_id": "shop"}
        added = await asyncio.gather(*(status(each, "POST", "/clients", new) for each in (admin, other)))
        assert sorted(added) == [201, 409]
        removed = await asyncio.gather(*(status(each, "DELETE", "/clients/shop") for each in (admin, other)))
        assert sorted(removed) == [200, 404]
