"""A process of the service is killed repeatedly while it reads a queue: no message is lost.

Where the broker has positions, or messages have ids, each is published once; otherwise repeats have the same event id.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shared.bus.connect import BusOptions, connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api import upstream_queues as queues
from tests.integration.services.system_api.service import program, published_events
from tests.integration.services.system_api.upstream_queues import OpenQueue, UpstreamQueue
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

FAILPOINTS = ["system.before-submit", "system.after-submit", "system.before-settle"]
COMMON = {"type": "t", "channel": "numbers", "interval": 0.05, "batch": 20, "subject": "id"}

_WAITING = 150
"""Messages that are there when the service starts."""
_MOST_LEFT = 200
"""Messages that are left when no more are written: the server of SQS takes longer for each, the more it has."""


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


async def settle(bus: Bus, options: BusOptions, written: list[str], queue: UpstreamQueue) -> None:
    """Return once all messages are published and none can be delivered again, or after 90 s."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(240):
            while len({event["data"]["id"] for event in await published_events(bus, options)}) < len(written):
                await asyncio.sleep(0.2)
            while await queue.left():
                await asyncio.sleep(0.2)


def faults(events: list[dict[str, Any]], written: list[str], queue: UpstreamQueue) -> dict[str, Any]:
    """Return what contradicts the promise of a queue, by kind; empty values are none."""
    ids: dict[str, list[str]] = {}
    for event in events:
        ids.setdefault(event["data"]["id"], []).append(event["id"])
    order = [event["data"]["id"] for event in events] if queue.once and queue.ordered else written
    return {
        "missing": [each for each in written if each not in ids],
        "never written": sorted(ids.keys() - set(written)),
        "repeats with another id": [found for found in ids.values() if len(set(found)) > 1],
        "ids of two messages": len(ids) - len({found[0] for found in ids.values()}),
        "repeats": [each for each, found in ids.items() if len(found) > 1 and queue.once],
        "first out of order": next(
            (each for each, wanted in zip(order, written, strict=False) if each != wanted), None
        ),
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("open_queue", "crashes"),
    [
        (queues.redis_stream, 3),
        (queues.sqs_queue, 3),
        (queues.mqtt_topics, 3),
        *(
            pytest.param(each, 25, marks=pytest.mark.chaos)
            for each in (
                queues.redis_stream,
                queues.kafka_topic,
                queues.nats_stream,
                queues.rabbitmq_stream,
                queues.rabbitmq_queue,
                queues.rabbitmq_queue_without_ids,
                queues.sqs_queue,
                queues.sqs_queue_without_window,
                queues.mqtt_topics,
                queues.mqtt_topics_without_ids,
            )
        ),
    ],
)
async def test_a_queue_keeps_its_promise(
    open_queue: OpenQueue,
    crashes: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    databases: Databases,
    unique_name: str,
    programs: list[Program],
    *,
    seed: int,
) -> None:
    rng, count, written = random.Random(seed), itertools.count(), []
    bus_options = PostgresBusOptions(topics=TopicsOptions(prefix=unique_name))
    async with databases.fresh(with_tables) as database, open_queue(request, unique_name) as queue:

        async def write(messages: int = 0) -> None:
            ids = [str(next(count)) for _ in range(messages or rng.randrange(1, 80))]
            if await queue.left() < _MOST_LEFT:
                await queue.write(ids)
                written.extend(ids)

        await write(_WAITING)
        running = program(tmp_path, database, bus_options, {"numbers": COMMON | queue.settings}, node="only")
        programs.append(running)
        for _ in range(crashes):
            await run_and_crash(running, write, rng)
        running.start()
        await running.ready()
        async with connect(bus_options, DatabaseOptions(url=database)) as bus:
            await settle(bus, bus_options, written, queue)
            assert await running.stop() == 0, running.tail()
            events = await published_events(bus, bus_options)
    found = {kind: what for kind, what in faults(events, written, queue).items() if what}
    assert not found, f"seed {seed}: {found}\n{running.tail()}"
    print(f"{crashes} crashes, {len(written)} messages, {len(events)} events")
