"""An experience layer in memory, on real sockets, for programs that push."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

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


@asynccontextmanager
async def in_memory(experience: dict[str, Any], bus: MemoryBus | None = None) -> AsyncIterator[RunningService]:
    """Run a ready replica with the client `demo`, whose secret is `demo`. Its health is on a listener of its own."""
    listen = {"port": 0, "health": {"port": 0}, **experience.get("listen", {})}
    quick = {"drain_delay": 0, "drain_within": 0, **experience, "listen": listen}
    leases, health = MemoryLeaseStore(), Health("test")
    registry = MemoryRegistry(leases)
    await add_client(registry, "demo", secret="demo")
    async with build_experience_api(
        ExperienceSettings.model_validate({"experience": quick}),
        bus=bus or MemoryBus(),
        registry=registry,
        leases=leases,
        keys=MemoryKeyStore(lambda _: True),
        alerts=RecordingAlerts(),
        health=health,
    ) as service:
        async with aiohttp.ClientSession() as http:
            while not health.readiness.ready:
                async with http.get(service.listening.health_url + "/readyz") as response:
                    await response.read()
        yield service
