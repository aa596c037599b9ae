"""The latest events of a replica that starts."""

import asyncio

import pytest

from services.experience_api.app import build_experience_api
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.database.options import DatabaseOptions
from shared.http.server import Health
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, ReplicaClient, ready, settings


async def test_they_are_copied_on_an_empty_database_without_a_warning(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = Deployment(DatabaseOptions(url=database))
    options = settings(deployment.database, {"latest": {"channels": ["**"]}})
    alerts, health = RecordingAlerts(), Health("test")
    async with build_experience_api(options, bus=MemoryBus(), alerts=alerts, health=health) as service:
        async with ReplicaClient.of(service.listening.url) as client:
            await ready(client)
            await client.push("orders", 1)
        async with asyncio.timeout(TIMEOUT):
            while not await _copied(deployment):
                await asyncio.sleep(0.01)
    assert "latest events" not in caplog.text


async def _copied(deployment: Deployment) -> bool:
    async with deployment.sql() as connection:
        return bool(await connection.fetchval("SELECT sum(position) FROM trelay.latest_positions"))
