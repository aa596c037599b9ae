"""A replica is killed amid pushes with keys: each is published once, whichever replica gets it again."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.e2e.deployments import write_settings
from tests.e2e.hops import values
from tests.e2e.programs import Program
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

# Before the transaction, in it where the bus lets a test in, and between it and the response.
FAILPOINTS = ["once.claimed", "once.published", "bus.written"]
PUSHES = 5


@pytest.fixture(params=["postgres", "kafka"])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    return options_of(request.param, request, unique_name)


def options_of(kind: str, request: pytest.FixtureRequest, prefix: str) -> BusOptions:
    """Return the settings of a bus with topics of its own, and start its broker where there is none yet."""
    topics = TopicsOptions(prefix=prefix, partitions=2)
    if kind == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(servers=request.getfixturevalue("kafka").bootstrap, topics=topics)


def replica(folder: Path, name: str, dsn: str, bus: BusOptions, **experience: object) -> tuple[Program, str]:
    """Return a replica, and the address of its `POST /entity`. `experience` are further settings of its section."""
    port = free_port()
    settings = {
        "database": {"url": dsn},
        "bus": {**bus.model_dump(mode="json", exclude_unset=True), "kind": bus.kind},
        "logs": {"format": "text", "level": "info"},
        "experience": {
            "listen": {"port": port},
            "connections": {"node": name, "lease_seconds": 2},
            "entity": {"allow": ["127.0.0.1"]},
            "drain_delay": 0,
            **experience,
        },
    }
    (folder / name).mkdir()
    config = write_settings(folder / name, settings)
    arguments = ["-m", "services.experience_api", "--config", str(config)]
    url = f"http://127.0.0.1:{port}"
    return Program(name, arguments, f"{url}/readyz", folder / f"{name}.log"), f"{url}/entity?channel=orders"


async def push(http: aiohttp.ClientSession, url: str, number: int) -> tuple[int, list[str]]:
    """Push once; return the status, 0 without a response, and the ids."""
    try:
        async with http.post(url, json=number, headers={"Idempotency-Key": f'"push-{number}"'}) as response:
            found = json.loads(await response.read())
            return response.status, found.get("ids", [])
    except (aiohttp.ClientError, TimeoutError, OSError):
        return 0, []


async def push_until_accepted(http: aiohttp.ClientSession, url: str, number: int) -> list[str]:
    async with asyncio.timeout(60):
        while True:
            status, ids = await push(http, url, number)
            if status == 202:
                return ids
            assert status in {0, 409, 503}, status
            await asyncio.sleep(0.1)


async def stored(options: BusOptions, topic: str, dsn: str) -> Counter[tuple[Any, str]]:
    """Count the events on a topic by data and id."""
    async with connect(options, DatabaseOptions(url=dsn)) as bus:
        events = [json.loads(value) async for value in values(bus, topic)]
    return Counter((event["data"], event["id"]) for event in events)


@pytest.mark.timeout(900)
async def test_pushes_are_published_once_whatever_is_killed(
    tmp_path: Path, databases: Databases, bus_options: BusOptions
) -> None:
    kafka = isinstance(bus_options, KafkaOptions)
    failpoints = [place for place in FAILPOINTS if not (kafka and place == "bus.written")]
    async with databases.fresh(with_tables) as dsn, aiohttp.ClientSession() as http:
        killed, url = replica(tmp_path, "killed", dsn, bus_options)
        other, other_url = replica(tmp_path, "other", dsn, bus_options)
        try:
            other.start()
            await other.ready()
            first = 0
            for place in failpoints:
                killed.start(f"{place}:3")
                await killed.ready()
                numbers = range(first, first + PUSHES)
                first += PUSHES
                answers = [await push(http, url, number) for number in numbers]
                assert await killed.ended(30) == -9
                assert {status for status, _ in answers} == {202, 0}
                for number, (status, ids) in zip(numbers, answers, strict=True):
                    again = await push_until_accepted(http, other_url, number)
                    assert status == 0 or ids == again
            killed.start()
            await killed.ready()
            for number in range(first):
                await push_until_accepted(http, url, number)
        finally:
            killed.kill()
            other.kill()
        found = await stored(bus_options, bus_options.topics.publish, dsn)
    assert sorted(number for number, _ in found) == list(range(first))
    assert set(found.values()) == {1}
