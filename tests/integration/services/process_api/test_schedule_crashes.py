"""A replica is killed while it commits heartbeats: each quiet subject has one, on whatever replica."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus, Transaction
from shared.bus.topics import TopicsOptions
from tests.e2e.hops import patient
from tests.integration.services.process_api.test_crashes import SUBJECTS, Deployment
from tests.servers.migrated import with_tables

FAILPOINTS = ["process.before-submit", "bus.written", "bus.committed"]


@pytest.fixture(params=["kafka", pytest.param("postgres", marks=pytest.mark.chaos)])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    topics = TopicsOptions(prefix=unique_name)
    if request.param == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(
        servers=request.getfixturevalue("kafka").bootstrap, topics=topics, session_timeout=6, delivery_timeout=8
    )


class QuietDeployment(Deployment):
    """Subjects that send an event now and then."""

    pipelines: ClassVar = {
        "beats": {"sources": ["numbers"], "channel": "beats", "steps": [{"schedule": {"quiet": 5}}]},
    }

    async def write_each(self, bus: Bus) -> None:
        """Write an event of each subject."""
        transaction = Transaction()
        for _ in range(SUBJECTS):
            self._append(transaction)
        async with bus.writer("system.numbers") as writer:
            await writer.commit(transaction)


async def outcome(bus: Bus, topics: TopicsOptions) -> tuple[Counter[str], Counter[str]]:
    """Return how many events and how many heartbeats each subject has on the publish topic."""
    events, heartbeats = Counter[str](), Counter[str]()
    bounds = await bus.bounds(topics.publish)
    async with bus.reader(topics.publish, {number: first for number, (first, _) in bounds.items()}) as reader:
        while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
            for record in await reader.read(wait=1.0):
                event = json.loads(record.value or b"")
                (heartbeats if event["type"] == "heartbeat" else events)[event["subject"]] += 1
    return events, heartbeats


async def reached(bus: Bus, topics: TopicsOptions, events: int, heartbeats: int) -> None:
    """Wait until there are so many of each subject, or more."""
    async with asyncio.timeout(240):
        while True:
            found = await outcome(bus, topics)
            if all(each.total() >= SUBJECTS * count for each, count in zip(found, (events, heartbeats), strict=True)):
                return
            await asyncio.sleep(0.3)


@pytest.mark.timeout(600)
async def test_a_heartbeat_comes_once_across_a_kill(
    tmp_path: Path, databases: Any, bus_options: BusOptions, seed: int
) -> None:
    topics = bus_options.topics
    async with databases.fresh(with_tables) as database:
        deployment = QuietDeployment(tmp_path, database, bus_options, random.Random(seed))
        a, b = deployment.replicas
        async with connect(patient(bus_options), deployment.database) as bus:
            await bus.ensure_topics(topics.all())
            for replica in (a, b):
                replica.start()
            try:
                for replica in (a, b):
                    await replica.ready()
                await deployment.write_each(bus)
                await reached(bus, topics, 1, 0)
                # What it commits from now on are heartbeats alone: it is killed at one of the first of them.
                b.kill()
                b.start(f"{deployment.rng.choice(FAILPOINTS)}:{deployment.rng.randrange(1, 3)}")
                with contextlib.suppress(TimeoutError):  # where the other replica has all partitions
                    await b.ended(15)
                b.kill()
                b.start()
                await b.ready()
                await reached(bus, topics, 1, 1)
                # A heartbeat that came twice would come before those of the next events.
                await deployment.write_each(bus)
                await reached(bus, topics, 2, 2)
                for replica in (a, b):
                    assert await replica.stop() == 0, replica.tail()
                events, heartbeats = await outcome(bus, topics)
            finally:
                print(*(replica.tail() for replica in (a, b)), sep="\n")
                for replica in (a, b):
                    replica.kill()
    assert set(events.values()) == set(heartbeats.values()) == {2}, (events, heartbeats)
    assert len(events) == len(heartbeats) == SUBJECTS
