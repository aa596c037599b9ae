"""A replica is killed with the connections that it holds, amid what it publishes of them: each event comes once."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.bus.connect import BusOptions, connect
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.test_pushes_killed import options_of, replica
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

PRESENCE = {"enabled": True, "left_after": 1}
# Behind the transaction that publishes, before it, and between it and its note.
FAILPOINTS = [
    ("postgres", "presence.published"),
    pytest.param("postgres", "once.claimed", marks=pytest.mark.chaos),
    pytest.param("postgres", "once.published", marks=pytest.mark.chaos),
    pytest.param("kafka", "presence.published", marks=pytest.mark.chaos),
    pytest.param("kafka", "once.claimed", marks=pytest.mark.chaos),
    pytest.param("kafka", "once.published", marks=pytest.mark.chaos),
]


async def secret_of(dsn: str, name: str) -> str:
    async with PostgresRegistry.opened(DatabaseOptions(url=dsn)) as registry:
        return await add_client(registry, name)


async def connected_until_killed(http: aiohttp.ClientSession, url: str, name: str, secret: str) -> str:
    """Connect, and return the id of the connection once it has been lost."""
    credentials = {"Client-Id": name, "Client-Secret": secret}
    async with http.post(f"{url}/consumers", headers=credentials) as response:
        assert response.status == 201, response
        token = str((await response.json())["token"])
    connection = ""
    with suppress(aiohttp.ClientError, OSError):
        async with http.ws_connect(f"{url}/ws/publish", headers={"Authorization": f"Bearer {token}"}) as socket:
            while (message := await socket.receive(timeout=60)).type is aiohttp.WSMsgType.TEXT:
                event = json.loads(message.data)
                if event["type"] == "trelay.connected":
                    connection = event["data"]["connection"]
    return connection


async def seen(options: BusOptions, dsn: str, expected: int) -> list[tuple[str, str]]:
    """Return what the publish topic holds once it is as much as expected, and after some time more."""
    found: list[tuple[str, str]] = []
    async with connect(options, DatabaseOptions(url=dsn)) as bus:
        topic = options.topics.publish
        bounds = await bus.bounds(topic)
        async with bus.reader(topic, {number: first for number, (first, _) in bounds.items()}) as reader:
            async with asyncio.timeout(60):
                while len(found) < expected:
                    found += [_read(record.value) for record in await reader.read(wait=1.0)]
            found += [_read(record.value) for record in await reader.read(wait=1.0)]
    return found


def _read(value: bytes | None) -> tuple[str, str]:
    event = json.loads(value or b"")
    return event["type"].rpartition(".")[2], event["data"]["connection"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("bus", "place"), FAILPOINTS)
async def test_a_killed_replica_leaves_one_came_and_one_left_of_its_connection(
    tmp_path: Path, databases: Databases, request: pytest.FixtureRequest, unique_name: str, bus: str, place: str
) -> None:
    options = options_of(bus, request, unique_name)
    async with databases.fresh(with_tables) as dsn, aiohttp.ClientSession() as http:
        killed, killed_entity = replica(tmp_path, "killed", dsn, options, presence=PRESENCE)
        other, _ = replica(tmp_path, "other", dsn, options, presence=PRESENCE)
        try:
            killed.start(place)  # the first to start publishes
            await killed.ready()
            secret = await secret_of(dsn, "guest")
            connection = await connected_until_killed(http, killed_entity.partition("/entity")[0], "guest", secret)
            assert await killed.ended(30) == -9
            other.start()
            assert await seen(options, dsn, 2) == [("came", connection), ("left", connection)]
        finally:
            killed.kill()
            other.kill()
