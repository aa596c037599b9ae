"""The experience layer behind real proxies, with the configurations of docs/proxies, unchanged but for the ports."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.settings import ExperienceSettings
from services.standalone.embedded.process import free_port
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.http.server import Health
from shared.lease import MemoryLeaseStore
from tests.servers.http_proxies import envoy, haproxy, nginx
from tests.servers.missing import skipping_without
from trelay_client import ClientCredentials, resume

EXPERIENCE = {
    "drain_delay": 2,
    "drain_within": 1,
    "trusted_proxies": ["127.0.0.1"],
    "entity": {"allow": ["127.0.0.1"]},
    "delivery": {"compression": {"enabled": True}},
}
HEADERS = {"client_id": "demo", "client_secret": "demo"}


@dataclass
class Replicas:
    """Two replicas that share a bus and a registry."""

    ports: list[int] = field(default_factory=lambda: [free_port(), free_port()])
    bus: MemoryBus = field(default_factory=MemoryBus)
    leases: MemoryLeaseStore = field(default_factory=MemoryLeaseStore)

    def __post_init__(self) -> None:
        self.registry = MemoryRegistry(self.leases)
        self.keys = MemoryKeyStore(lambda _: True)

    @asynccontextmanager
    async def replica(self, number: int) -> AsyncIterator[None]:
        listen = {"port": self.ports[number], "hosts": ["*"]}
        options = {"experience": {**EXPERIENCE, "listen": listen, "connections": {"node": f"replica-{number}"}}}
        health = Health("test")
        async with build_experience_api(
            ExperienceSettings.model_validate(options),
            bus=self.bus,
            registry=self.registry,
            leases=self.leases,
            keys=self.keys,
            alerts=RecordingAlerts(),
            health=health,
        ):
            while not health.readiness.ready:
                await asyncio.sleep(0.01)
            yield


@pytest.fixture(params=[nginx, haproxy, envoy], ids=["nginx", "haproxy", "envoy"])
def proxy(request: pytest.FixtureRequest) -> Callable[[Sequence[int]], AbstractContextManager[str]]:
    found: Callable[[Sequence[int]], AbstractContextManager[str]] = request.param
    return found


async def test_every_way_in_leads_through_the_proxy(
    proxy: Callable[[Sequence[int]], AbstractContextManager[str]], request: pytest.FixtureRequest
) -> None:
    replicas = Replicas()
    await add_client(replicas.registry, "demo", secret="demo")
    async with AsyncExitStack() as stack:
        for number in (0, 1):
            await stack.enter_async_context(replicas.replica(number))
        with skipping_without("nginx, HAProxy and Envoy", request.config):
            running = proxy(replicas.ports)
            url = await asyncio.to_thread(running.__enter__)
            stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        http = await stack.enter_async_context(aiohttp.ClientSession(url))
        async with http.post("/consumers", headers=HEADERS) as response:
            assert response.status == 201, "headers with an underscore pass"
            bearer = {"Authorization": f"Bearer {(await response.json())['token']}"}
        async with http.ws_connect("/ws/publish", headers=bearer) as socket:
            first = await socket.receive_json()
            assert first["type"] == "trelay.connected"
            spoofed = {"X-Forwarded-For": "203.0.113.9"}
            async with http.post("/entity?channel=a", json=1, headers=spoofed) as response:
                assert response.status == 202, "the proxy has replaced the header"
            event = await socket.receive_json(timeout=60)
            assert event["data"] == 1
        async with http.get("/sse/publish", headers=bearer, params={"cursor": first["cursor"]}) as response:
            found: list[Any] = []
            async with asyncio.timeout(60):
                while 1 not in found:
                    line = await response.content.readline()
                    found += [json.loads(line[6:]).get("data")] if line.startswith(b"data: ") else []
        assert [event["data"] for event in await _events(http, bearer, first["cursor"])] == [1]
        await _is_compressed(http, bearer, first["cursor"])


async def test_a_replica_that_drains_costs_a_subscriber_behind_the_proxy_nothing(
    proxy: Callable[[Sequence[int]], AbstractContextManager[str]], request: pytest.FixtureRequest
) -> None:
    replicas = Replicas()
    await add_client(replicas.registry, "demo", secret="demo")
    received: list[int] = []
    async with AsyncExitStack() as stack:
        draining = [await _open(replicas.replica(number)) for number in (0, 1)]
        stack.push_async_callback(draining[1].aclose)
        with skipping_without("nginx, HAProxy and Envoy", request.config):
            running = proxy(replicas.ports)
            url = await asyncio.to_thread(running.__enter__)
            stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        http = await stack.enter_async_context(aiohttp.ClientSession(url))

        async def push(number: int) -> None:
            async with http.post(
                "/entity?channel=a", json=number, headers={"Idempotency-Key": str(number)}
            ) as response:
                assert response.status == 202, await response.text()

        frames = resume(url, ClientCredentials("demo", "demo"), _Store(), ["a"])
        async with aclosing(frames), asyncio.timeout(60):
            next_number = 0
            async for frame in frames:
                if not frame.own:
                    received.append(frame.event["data"])
                if frame.own and next_number:
                    assert frame.event["type"] != "trelay.gap"
                    continue
                if next_number == 5:
                    await draining[0].aclose()
                if next_number == 20:
                    break
                await push(next_number)
                next_number += 1
    assert received == list(range(20))


async def test_a_client_that_leaves_while_it_polls_is_admitted_again(
    proxy: Callable[[Sequence[int]], AbstractContextManager[str]], request: pytest.FixtureRequest
) -> None:
    replicas = Replicas()
    await add_client(replicas.registry, "demo", secret="demo")
    async with AsyncExitStack() as stack:
        for number in (0, 1):
            await stack.enter_async_context(replicas.replica(number))
        with skipping_without("nginx, HAProxy and Envoy", request.config):
            running = proxy(replicas.ports)
            url = await asyncio.to_thread(running.__enter__)
            stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        http = await stack.enter_async_context(aiohttp.ClientSession(url))
        async with http.post("/consumers", headers=HEADERS) as response:
            bearer = {"Authorization": f"Bearer {(await response.json())['token']}"}
        async with http.get("/events", headers=bearer) as response:
            cursor = (await response.json())["cursor"]
        polling = asyncio.create_task(_read(http, bearer, {"cursor": cursor, "wait": "60"}))
        async with asyncio.timeout(60):
            while not any(consumer.connections for consumer in await replicas.registry.consumers()):
                await asyncio.sleep(0.01)
        polling.cancel()
        async with asyncio.timeout(30):
            while (await _read(http, bearer, {"cursor": cursor, "wait": "0"})) == 409:
                await asyncio.sleep(1)


async def _read(http: aiohttp.ClientSession, bearer: dict[str, str], query: dict[str, str]) -> int:
    """Read events by long polling; return the status."""
    async with http.get("/events", headers=bearer, params=query) as response:
        await response.read()
        return response.status


async def _is_compressed(http: aiohttp.ClientSession, bearer: dict[str, str], cursor: str) -> None:
    """Check that a client and a replica agree on compression through the proxy, and understand each other."""
    async with await _connected(http, bearer, cursor) as socket:
        assert socket.compress == 15
        large = "x" * 20_000
        async with http.post("/entity?channel=a", json=large) as response:
            assert response.status == 202
        found: list[Any] = []
        while large not in found:
            message = await socket.receive(timeout=60)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            found.append(json.loads(message.data).get("data"))


async def _connected(
    http: aiohttp.ClientSession, bearer: dict[str, str], cursor: str
) -> aiohttp.ClientWebSocketResponse:
    """Connect with compression, once the connection before has ended on the other side of the proxy."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await http.ws_connect("/ws/publish", headers=bearer, params={"cursor": cursor}, compress=15)
            except aiohttp.WSServerHandshakeError as exc:
                if exc.status != 409:
                    raise
            await asyncio.sleep(0.1)


async def _events(http: aiohttp.ClientSession, bearer: dict[str, str], cursor: str) -> list[Any]:
    """Return the next events by long polling, once the connection before has ended on the other side of the proxy."""
    async with asyncio.timeout(60):
        while True:
            async with http.get("/events?wait=10", headers=bearer, params={"cursor": cursor}) as response:
                found = await response.json(content_type=None)
                if response.status != 409:
                    assert response.status == 200, found
                    return [event for event in found["events"] if not event["type"].startswith("trelay.")]
            await asyncio.sleep(0.1)


async def _open(context: Any) -> AsyncExitStack:
    stack = AsyncExitStack()
    await stack.enter_async_context(context)
    return stack


class _Store:
    """Keeps the cursor in memory."""

    def __init__(self) -> None:
        self.cursor: str | None = None

    def load(self) -> str | None:
        return self.cursor

    def save(self, cursor: str) -> None:
        self.cursor = cursor
