"""Replicas are killed under a subscriber with conflation: the latest of each subject arrives, and nothing twice."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.bus.postgres import PostgresBusOptions
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.test_pushes_killed import replica
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

SUBJECTS = 7
SEED = 20261129


async def secret_of(dsn: str) -> str:
    async with PostgresRegistry.opened(DatabaseOptions(url=dsn)) as registry:
        return await add_client(registry, "board")


async def events(http: aiohttp.ClientSession, url: str, token: str, cursor: str) -> AsyncIterator[dict[str, object]]:
    """Yield the events of one connection until it breaks or is refused."""
    query = f"channels=orders&conflate=100ms&since=earliest{f'&cursor={cursor}' if cursor else ''}"
    with suppress(aiohttp.ClientError, OSError):
        headers = {"Authorization": f"Bearer {token}"}
        async with http.ws_connect(f"{url}/ws/publish?{query}", headers=headers) as socket:
            async for message in socket:
                yield json.loads(message.data)


class Board:
    """What a dashboard has received, over all its connections."""

    def __init__(self) -> None:
        self.cursor = ""
        self.received: list[str] = []
        self.latest: dict[str, int] = {}

    def take(self, event: dict[str, object]) -> None:
        self.cursor = str(event.get("cursor", self.cursor))
        if event["source"] != "/trelay":
            self.received.append(str(event["id"]))
            self.latest[str(event["subject"])] = int(str(event["data"]))
        assert event["type"] != "trelay.gap", event


async def push_until(done: asyncio.Event, http: aiohttp.ClientSession, url: str, rng: random.Random) -> dict[str, int]:
    """Push numbers, each about one of some subjects; return the latest of each."""
    latest: dict[str, int] = {}
    number = 0
    while not done.is_set():
        number += 1
        subject = str(rng.randrange(SUBJECTS))
        async with http.post(f"{url}/entity?channel=orders&subject={subject}", json=number) as response:
            assert response.status == 202, response
        latest[subject] = number
    return latest


@pytest.mark.chaos
async def test_the_latest_of_each_subject_arrives_whatever_is_killed(
    tmp_path: Path, databases: Databases, unique_name: str
) -> None:
    print("seed", SEED)
    rng = random.Random(SEED)
    options = PostgresBusOptions(topics=TopicsOptions(prefix=unique_name, partitions=2))
    board, latest = Board(), {"": -1}
    async with databases.fresh(with_tables) as dsn, aiohttp.ClientSession() as http:
        killed, killed_entity = replica(tmp_path, "killed", dsn, options)
        other, other_entity = replica(tmp_path, "other", dsn, options)
        urls = [entity.partition("/entity")[0] for entity in (killed_entity, other_entity)]
        try:
            killed.start()
            other.start()
            await killed.ready()
            await other.ready()
            credentials = {"Client-Id": "board", "Client-Secret": await secret_of(dsn)}
            async with http.post(f"{urls[1]}/consumers", headers=credentials) as response:
                token = str((await response.json())["token"])
            done = asyncio.Event()
            pushing = asyncio.create_task(push_until(done, http, urls[1], random.Random(SEED)))
            for where in (0, 1, 0, 1):
                number, stop = 0, rng.randrange(3, 12)
                async for event in events(http, urls[where], token, board.cursor):
                    board.take(event)
                    number += 1
                    if number >= stop:
                        break  # in the middle of a round
                if where == 0:
                    killed.kill()
                    killed.start()
                    await killed.ready()
            done.set()
            latest = await pushing
            async with asyncio.timeout(60):
                while board.latest != latest:
                    async for event in events(http, urls[1], token, board.cursor):
                        board.take(event)
                        if board.latest == latest:
                            break
                    await asyncio.sleep(0.1)
        finally:
            killed.kill()
            other.kill()
    assert board.latest == latest
    assert len(board.received) == len(set(board.received))
