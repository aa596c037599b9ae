"""A replica is killed while it copies the latest events: each record counts once, whichever replica goes on."""

import asyncio
import json
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Outgoing
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.test_pushes_killed import replica
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

LATEST = {"channels": ["orders.*"], "interval": 0.01}
FAILPOINTS = ["latest.read", "latest.moved", "latest.changed", "latest.written"]
_ROWS = 'SELECT channel, partition, "offset", event FROM trelay.latest_events'
_POSITIONS = "SELECT array_agg(position ORDER BY partition) FROM trelay.latest_positions"


@pytest.fixture(params=["postgres", pytest.param("kafka", marks=pytest.mark.chaos)])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    topics = TopicsOptions(prefix=unique_name, partitions=2)
    if request.param == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(servers=request.getfixturevalue("kafka").bootstrap, topics=topics)


async def publish(options: BusOptions, dsn: str, latest: dict[tuple[str, str], int], first: int) -> None:
    """Publish events of some subjects, of which every ninth deletes its subject."""
    async with connect(options, DatabaseOptions(url=dsn)) as bus, bus.appender() as appender:
        for number in range(first, first + 40):
            channel, subject = f"orders.{number % 3}", str(number % 7)
            deleted = number % 9 == 0
            kind = "order.deleted" if deleted else "order"
            event = {"specversion": "1.0", "id": str(number), "source": "/s", "type": kind, "subject": subject}
            value = json.dumps({**event, "channel": channel, "data": number}).encode()
            await appender.append(options.topics.publish, [Outgoing(channel.encode(), value)])
            latest.pop((channel, subject), None)
            if not deleted:
                latest[channel, subject] = number


async def copied(options: BusOptions, dsn: str) -> dict[tuple[str, str], int]:
    """Return the latest events once all of the topic is copied."""
    async with connect(options, DatabaseOptions(url=dsn)) as bus:
        bounds = await bus.bounds(options.topics.publish)
    ends = [bounds[partition][1] for partition in sorted(bounds)]
    database = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(60):
            while await database.fetchval(_POSITIONS) != ends:
                await asyncio.sleep(0.05)
        events = [json.loads(row["event"]) for row in await database.fetch(_ROWS)]
    finally:
        await database.close()
    return {(event["channel"], event["subject"]): event["data"] for event in events}


@pytest.mark.timeout(900)
async def test_each_record_counts_once_whatever_is_killed(
    tmp_path: Path, databases: Databases, bus_options: BusOptions
) -> None:
    latest: dict[tuple[str, str], int] = {}
    numbers = count(step=40)
    async with databases.fresh(with_tables) as dsn:
        killed, _ = replica(tmp_path, "killed", dsn, bus_options, latest=LATEST)
        other, _ = replica(tmp_path, "other", dsn, bus_options, latest=LATEST)
        try:
            for place in FAILPOINTS:
                killed.start(f"{place}:2")  # the only one that runs, so it copies
                await killed.ready()
                ended = asyncio.create_task(killed.ended(120))
                while not ended.done():  # however long it takes until it copies
                    await publish(bus_options, dsn, latest, next(numbers))
                assert ended.result() == -9, place
            other.start()
            await other.ready()
            killed.start()
            await publish(bus_options, dsn, latest, next(numbers))
            assert await copied(bus_options, dsn) == latest
            other.kill()  # perhaps while it holds the lease
            await publish(bus_options, dsn, latest, next(numbers))
            assert await copied(bus_options, dsn) == latest
        finally:
            killed.kill()
            other.kill()
