"""A replica is killed amid messages with ids: each is stored once, whichever replica gets it again."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.bus.connect import BusOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.experience_api.test_pushes_killed import options_of, replica, stored
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

# Before the transaction, in it, and between it and the acknowledgement.
FAILPOINTS = [
    pytest.param("postgres", "once.claimed", marks=pytest.mark.chaos),
    pytest.param("postgres", "bus.written", marks=pytest.mark.chaos),
    ("postgres", "once.published"),
    pytest.param("kafka", "once.claimed", marks=pytest.mark.chaos),
    pytest.param("kafka", "once.published", marks=pytest.mark.chaos),
]
MESSAGES = 5


async def register(http: aiohttp.ClientSession, url: str, secret: str) -> str:
    credentials = {"Client-Id": "sensor", "Client-Secret": secret}
    async with http.post(f"{url}/consumers", headers=credentials) as response:
        assert response.status == 201, response
        return str((await response.json())["token"])


async def send(http: aiohttp.ClientSession, url: str, token: str, ids: list[str]) -> dict[str, str]:
    """Send messages in one connection until it breaks; return the events of those that were acknowledged."""
    found: dict[str, str] = {}
    try:
        async with http.ws_connect(f"{url}/ws/publish", headers={"Authorization": f"Bearer {token}"}) as socket:
            for sent in ids:
                await socket.send_json({"type": "trelay.message", "id": sent, "data": sent})
                while sent not in found:
                    event = json.loads((await socket.receive(timeout=30)).data)
                    if event["type"] == "trelay.accepted":
                        found[event["data"]["id"]] = event["data"]["event"]
    except (aiohttp.ClientError, TypeError, OSError):
        pass  # refused, or broken: what was not acknowledged is sent again
    return found


async def send_all(http: aiohttp.ClientSession, url: str, token: str, ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    async with asyncio.timeout(60):
        while left := [sent for sent in ids if sent not in found]:
            found |= await send(http, url, token, left)
            await asyncio.sleep(0.1)
    return found


def address(entity: str) -> str:
    return entity.partition("/entity")[0]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("bus", "place"), FAILPOINTS)
async def test_messages_are_stored_once_whatever_is_killed(
    tmp_path: Path, databases: Databases, request: pytest.FixtureRequest, unique_name: str, bus: str, place: str
) -> None:
    options = options_of(bus, request, unique_name)
    ids = [f"m-{number}" for number in range(MESSAGES)]
    async with databases.fresh(with_tables) as dsn, aiohttp.ClientSession() as http:
        killed, killed_url = _replica(tmp_path, "killed", dsn, options)
        other, other_url = _replica(tmp_path, "other", dsn, options)
        try:
            other.start()
            killed.start(f"{place}:3")
            await other.ready()
            await killed.ready()
            token = await register(http, other_url, await _sender(dsn))
            acknowledged = await send(http, killed_url, token, ids)
            assert await killed.ended(30) == -9
            assert 0 < len(acknowledged) < MESSAGES
            events = await send_all(http, other_url, token, ids)
            assert acknowledged.items() <= events.items(), "the same events"
        finally:
            killed.kill()
            other.kill()
        found = await stored(options, options.topics.inbound, dsn)
    assert sorted(found) == sorted(events.items())
    assert set(found.values()) == {1}


def _replica(folder: Path, name: str, dsn: str, options: BusOptions) -> tuple[Program, str]:
    program, entity = replica(folder, name, dsn, options)
    return program, address(entity)


async def _sender(dsn: str) -> str:
    """Add a client that may send, and return its secret."""
    async with PostgresRegistry.opened(DatabaseOptions(url=dsn)) as registry:
        return await add_client(registry, "sensor", may_send=True)
