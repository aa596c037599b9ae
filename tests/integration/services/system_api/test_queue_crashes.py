"""A process of the service is killed repeatedly while it reads a log: every message is published once, and in order."""

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Outgoing, TopicOptions
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import program, published
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

FAILPOINTS = ["system.before-submit", "system.after-submit", "system.before-settle"]
COMMON = {"type": "t", "channel": "numbers", "interval": 0.05, "batch": 20, "subject": "id"}

Write = Callable[[list[str]], Awaitable[None]]


@contextlib.asynccontextmanager
async def redis_log(request: pytest.FixtureRequest, name: str) -> AsyncIterator[tuple[dict[str, Any], Write]]:
    url = request.getfixturevalue("redis").url
    async with Redis.from_url(url) as client:

        async def write(ids: list[str]) -> None:
            pipeline: Any
            async with client.pipeline(transaction=False) as pipeline:
                for each in ids:
                    pipeline.xadd(name, {"id": each})
                await pipeline.execute()

        await client.xgroup_create(name, "owner", mkstream=True)
        yield {"kind": "redis", "url": url, "stream": name}, write


@contextlib.asynccontextmanager
async def kafka_log(request: pytest.FixtureRequest, name: str) -> AsyncIterator[tuple[dict[str, Any], Write]]:
    servers = request.getfixturevalue("kafka").bootstrap
    async with connect_kafka(KafkaOptions(servers=servers)) as bus, bus.appender() as appender:
        await bus.ensure_topics([TopicOptions(name=name, partitions=1)])

        async def write(ids: list[str]) -> None:
            await appender.append(name, [Outgoing(b"k", json.dumps({"id": each}).encode()) for each in ids])

        yield {"kind": "kafka", "servers": servers, "topics": [name]}, write


async def run_and_crash(running: Program, write: Callable[[], Awaitable[None]], rng: random.Random) -> None:
    """Start, and crash at a failpoint or at a random time, while messages are written."""
    failpoint = rng.choice([*FAILPOINTS, None])
    running.start(failpoint and f"{failpoint}:{rng.randrange(1, 8)}")
    crash_at = asyncio.get_running_loop().time() + (20 if failpoint else rng.uniform(0.5, 4))
    while (left := crash_at - asyncio.get_running_loop().time()) > 0:
        await write()
        with contextlib.suppress(TimeoutError):
            await running.ended(min(left, 0.2))
            return
    running.kill()


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("log", "crashes"),
    [
        (redis_log, 3),
        pytest.param(redis_log, 25, marks=pytest.mark.chaos),
        pytest.param(kafka_log, 25, marks=pytest.mark.chaos),
    ],
)
async def test_every_message_is_published_once_and_in_order(
    log: Any,
    crashes: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    databases: Databases,
    unique_name: str,
    programs: list[Program],
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    rng, count, written = random.Random(seed), itertools.count(), []
    bus_options = PostgresBusOptions(topics=TopicsOptions(prefix=unique_name))
    async with databases.fresh(with_tables) as database, log(request, unique_name) as (settings, send):

        async def write() -> None:
            ids = [str(next(count)) for _ in range(rng.randrange(1, 80))]
            await send(ids)
            written.extend(ids)

        running = program(tmp_path, database, bus_options, {"numbers": COMMON | settings}, node="only")
        programs.append(running)
        for _ in range(crashes):
            await run_and_crash(running, write, rng)
        running.start()
        await running.ready()
        found: list[str] = []
        async with connect(bus_options, DatabaseOptions(url=database)) as bus:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(60):
                    while len(found) < len(written):
                        found = (await published(bus, bus_options, ["numbers"]))["numbers"]
            assert await running.stop() == 0, running.tail()
            found = (await published(bus, bus_options, ["numbers"]))["numbers"]
    assert found == written, f"seed {seed}; {len(found)} of {len(written)}\n{running.tail()}"
    print(f"{crashes} crashes, {len(written)} messages, each published once and in order")
