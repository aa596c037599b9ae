"""Dead letters are replayed once each: replicas are killed in the middle, and then two replay at the same time."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import CollectorRegistry

from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.requests import DecideRequest, ListRequest
from services.process_api.dead_letters.service import DeadLetters
from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.events.dead_letter import Content, Reject
from shared.runtime.clock import SYSTEM_CLOCK
from tests.e2e.hops import patient
from tests.e2e.programs import Program
from tests.servers.migrated import with_tables

LETTERS = 2300
KILLS = ["dead-letters.before-commit:2", "dead-letters.after-commit:1"]
ALL = {"source": "orders"}


@pytest.fixture(params=["postgres", "kafka"])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    topics = TopicsOptions(prefix=unique_name)
    if request.param == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(
        servers=request.getfixturevalue("kafka").bootstrap, topics=topics, session_timeout=6, delivery_timeout=8
    )


def letter(number: int) -> Reject:
    identity = f"orders:{number}"
    event = {
        "specversion": "1.0",
        "id": identity,
        "source": "/sources/orders",
        "type": "t",
        "subject": f"s{number % 7}",
    }
    return Reject(
        identity,
        json.dumps({**event, "data": {"n": number}}, separators=(",", ":")).encode(),
        "steps.0.validate: no",
        "pipeline",
        f"ingest/0/{number}",
        "orders@1",
        content=Content.EVENT,
        key=f"s{number % 7}".encode(),
        provenance=f"orders 1700000000000 {identity}".encode(),
    )


class Replica:
    """A replica of the process layer, with a pipeline that takes the events now."""

    def __init__(self, folder: Path, database: str, bus: BusOptions) -> None:
        port = free_port()
        settings = {
            "database": {"url": database},
            "bus": bus.model_dump(mode="json", exclude_none=True),
            "process": {
                "node": "replica",
                "listen": {"port": port},
                "pipelines": {"orders": {"sources": ["orders"], "channel": "orders"}},
            },
        }
        config = folder / "replica.yaml"
        config.write_text(yaml.safe_dump(settings))
        self.url = f"http://127.0.0.1:{port}"
        arguments = ["-m", "services.process_api", "--config", str(config)]
        self.program = Program("replica", arguments, f"{self.url}/readyz", folder / "replica.log")

    async def replay(self) -> int:
        """Replay all letters; return how many it says."""
        count, body = 0, dict(ALL)
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.post(f"{self.url}/dead-letters/replay", json=body) as answer:
                    found = await answer.json(content_type=None)
                    assert answer.status == 200, found
                count += int(found["replayed"])
                if found["cursor"] is None:
                    return count
                body["cursor"] = found["cursor"]


async def replay_here(bus: Bus, letters: DeadLetters) -> int:
    """Replay all letters as another replica does; return how many it says."""
    count, body = 0, dict(ALL)
    while True:
        request = DecideRequest.parse(Status.REPLAYED, json.dumps(body).encode())
        found = (await letters.decide(bus, request, "bob")).body
        count += int(found["replayed"])
        if found["cursor"] is None:
            return count
        body["cursor"] = found["cursor"]


async def listed(bus: Bus, letters: DeadLetters) -> list[str]:
    """Return the ids of the events that were replayed, the newest letter first, page by page."""
    query, ids = {"status": "replayed", "limit": "700"}, list[str]()
    while True:
        page = await letters.page(bus, ListRequest.parse(query))
        ids += [each["event_id"] for each in page["letters"]]
        if page["cursor"] is None:
            return ids
        query["cursor"] = page["cursor"]


async def published(bus: Bus, topic: str) -> list[int]:
    """Return the numbers of the events on a topic, by partition in their order."""
    bounds = await bus.bounds(topic)
    numbers: list[int] = []
    async with bus.reader(topic, {number: first for number, (first, _) in bounds.items()}) as reader:
        while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
            numbers += [json.loads(record.value or b"")["data"]["n"] for record in await reader.read(wait=1.0)]
    return numbers


@pytest.mark.timeout(900)
async def test_each_letter_is_replayed_once_whatever_is_killed(
    tmp_path: Path, databases: Any, bus_options: BusOptions
) -> None:
    topics = bus_options.topics
    kills = KILLS if isinstance(bus_options, KafkaOptions) else KILLS[:1]
    async with databases.fresh(with_tables) as database:
        replica = Replica(tmp_path, database, bus_options)
        async with connect(patient(bus_options), DatabaseOptions(url=database)) as bus:
            await bus.ensure_topics(topics.all())
            async with bus.appender() as appender:
                await appender.append(topics.dead_letter, [letter(number).record() for number in range(LETTERS)])
            try:
                for failpoint in kills:
                    replica.program.start(failpoint)
                    await replica.program.ready()
                    with pytest.raises(aiohttp.ClientError):
                        await replica.replay()
                    assert await replica.program.ended(30) == -9
                replica.program.start()
                await replica.program.ready()
                pipelines, registry = {"orders": 1}, CollectorRegistry()
                letters = DeadLetters(topics, lambda _source: pipelines, registry, SYSTEM_CLOCK, random.Random(1))
                counts = await asyncio.gather(replica.replay(), replay_here(bus, letters))
                assert sum(counts) == LETTERS - 500 * len(kills)  # one commit before each kill
                assert sorted(await listed(bus, letters)) == sorted(f"orders:{number}" for number in range(LETTERS))
                assert (await letters.count(bus, ListRequest.parse({}, counts=True)))["total"] == 0
                async with asyncio.timeout(240):
                    while len(found := await published(bus, topics.publish)) < LETTERS:
                        await asyncio.sleep(0.2)
            finally:
                print(replica.program.tail())
                replica.program.kill()
    assert max(Counter(found).values()) == 1
    for subject in range(7):
        numbers = [number for number in found if number % 7 == subject]
        assert numbers == sorted(numbers)
