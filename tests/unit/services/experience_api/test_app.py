"""The whole service in memory: its dependencies are replaced by arguments, nothing is patched."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.settings import ExperienceSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.composition.serving import RunningService
from shared.http.server import Health
from shared.lease import MemoryLeaseStore

SETTINGS = ExperienceSettings.model_validate(
    {"experience": {"listen": {"port": 0}, "drain_delay": 0, "drain_within": 1, "entity": {"allow": ["127.0.0.0/8"]}}}
)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
async def service(http: aiohttp.ClientSession, bus: MemoryBus) -> AsyncIterator[RunningService]:
    leases, health = MemoryLeaseStore(), Health("test")
    registry, keys = MemoryRegistry(leases), MemoryKeyStore(bool)
    await add_client(registry, "demo", secret="demo")
    async with build_experience_api(
        SETTINGS, bus=bus, registry=registry, leases=leases, keys=keys, alerts=RecordingAlerts(), health=health
    ) as service:
        while not health.readiness.ready:
            async with http.get(service.listening.health_url + "/readyz") as response:
                await response.read()
        yield service
    assert health.readiness.draining


async def test_a_pushed_entity_reaches_a_registered_consumer(
    service: RunningService, http: aiohttp.ClientSession
) -> None:
    url = service.listening.url
    async with http.post(f"{url}/consumers", headers={"client_id": "demo", "client_secret": "demo"}) as response:
        token = (await response.json())["token"]
    async with http.ws_connect(f"{url}/ws/publish", headers={"Authorization": f"Bearer {token}"}) as socket:
        assert json.loads((await socket.receive()).data)["type"] == "trelay.connected"
        async with http.post(f"{url}/entity?channel=orders", json={"number": 7}) as response:
            assert response.status == 202
        assert json.loads((await socket.receive()).data)["data"] == {"number": 7}


async def test_metrics_are_exposed(service: RunningService, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{service.listening.url}/metrics") as response:
        text = await response.text()
    assert 'trelay_experience_handshakes_total{outcome="accepted"} 0.0' in text
    assert 'trelay_part_connected{part="stream"} 1.0' in text


async def test_a_replica_without_its_bus_stays_ready_and_admits_subscribers(
    service: RunningService, http: aiohttp.ClientSession, bus: MemoryBus
) -> None:
    """Otherwise an outage of Kafka would leave the load balancer without any replica."""
    url = service.listening.url
    async with http.post(f"{url}/consumers", headers={"client_id": "demo", "client_secret": "demo"}) as response:
        token = (await response.json())["token"]
    bus.problem = "the broker is away"
    async with http.get(f"{service.listening.health_url}/readyz") as response:
        found = await response.json()
        assert (response.status, found["ready"], found["missing"].keys()) == (200, True, {"bus", "stream"})
    async with http.ws_connect(f"{url}/ws/publish", headers={"Authorization": f"Bearer {token}"}) as socket:
        assert json.loads((await socket.receive()).data)["type"] == "trelay.connected"
        bus.problem = None
        async with http.post(f"{url}/entity?channel=orders", json={"number": 7}) as response:
            assert response.status == 202
        assert json.loads((await socket.receive()).data)["data"] == {"number": 7}
