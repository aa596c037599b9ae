"""Measures the time from the commit of a row to its frame at a subscriber, through three processes on Kafka, when idle.

On the way, the time to its event on the publish topic, as a consumer that reads committed records sees it.

Next to it, alternating on the same broker, the minimum for any relay that is exactly once between three parts: two bare
transactional round trips in sequence (a record in a transaction, read committed, copied in a transaction with its
offset, read committed).
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.bus.topics import TopicsOptions
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.e2e.deployments import three_processes
from tests.e2e.feeding import DDL, TABLE
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server

CHANNEL = "row_written"
TRIGGER = f"""
CREATE FUNCTION notify_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY {CHANNEL}; RETURN NULL; END $$;
CREATE TRIGGER notify_row AFTER INSERT OR UPDATE ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION notify_row();
"""
WARM_UP = 30
CLIENT, SECRET = "bench", "a secret of the benchmark"

Trip = Callable[[int], Awaitable[float]]
"""Makes one trip, numbered, and returns its milliseconds."""


@asynccontextmanager
async def relay(
    folder: Path, dsn: str, bootstrap: str, notify: str | None, to_publish: list[float]
) -> AsyncIterator[Trip]:
    """Run the three services; a trip inserts a row and waits for its frame. `notify` is the channel that wakes them.

    The milliseconds to the publish topic are appended to `to_publish`.
    """
    feed = folder / "feed.ndjson"
    feed.touch()
    database = DatabaseOptions(url=dsn)
    await migrate(database)
    writer = await asyncpg.connect(dsn)
    await writer.execute(DDL)
    await writer.execute(TRIGGER)
    async with PostgresRegistry.opened(database) as registry:
        await add_client(registry, CLIENT, secret=SECRET)
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    deployment = three_processes(folder, feed, dsn, bootstrap, prefix, notify=notify)
    arrived: dict[int, float] = {}
    published: dict[int, float] = {}
    changed = asyncio.Condition()

    async def note(at: dict[int, float], value: str | bytes) -> None:
        moment, event = time.perf_counter(), json.loads(value)
        if event["source"] == "/sources/orders":
            at[event["data"]["number"]] = moment
            async with changed:
                changed.notify_all()

    async def listen(socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        async for message in socket:
            await note(arrived, message.data)

    async def follow() -> None:
        topic = TopicsOptions(prefix=prefix).publish
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
        async with consumer:
            async for record in consumer:
                await note(published, record.value)

    async def trip(number: int) -> float:
        await writer.execute(f"INSERT INTO {TABLE} (account, number, note) VALUES ('a', $1, 'x')", number)
        committed = time.perf_counter()
        async with asyncio.timeout(30), changed:
            await changed.wait_for(lambda: number in arrived and number in published)
        to_publish.append((published[number] - committed) * 1000)
        return (arrived[number] - committed) * 1000

    try:
        await deployment.start()
        async with aiohttp.ClientSession() as session:
            credentials = {"client_id": CLIENT, "client_secret": SECRET}
            async with session.post(f"{deployment.url}/consumers", headers=credentials) as response:
                token = (await response.json())["token"]
            headers = {"Authorization": f"Bearer {token}"}
            async with session.ws_connect(f"{deployment.url}/ws/publish", headers=headers) as socket:
                tasks = [asyncio.create_task(listen(socket)), asyncio.create_task(follow())]
                yield trip
                for task in tasks:
                    task.cancel()
    finally:
        deployment.kill()
        await writer.close()


@asynccontextmanager
async def bare(bootstrap: str, *, copied: bool = True) -> AsyncIterator[Trip]:
    """Open the clients of two chained round trips; a trip sends one record through both.

    Without `copied`, it is one round trip: what is written first is read at the end.
    """
    name = f"bare-{uuid.uuid4().hex[:8]}"
    first, second, group = f"{name}-1", f"{name}-2", f"{name}-group"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1) for topic in (first, second)])
    await admin.close()
    async with AsyncExitStack() as stack:

        async def started(client: AIOKafkaProducer | AIOKafkaConsumer) -> None:
            await client.start()
            stack.push_async_callback(client.stop)

        producers = [
            AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{name}-{part}", acks="all")
            for part in ("in", "out")
        ]
        middle, last = (
            AIOKafkaConsumer(
                bootstrap_servers=bootstrap,
                isolation_level="read_committed",
                enable_auto_commit=False,
                fetch_max_wait_ms=500,
                group_id=given,
            )
            for given in (group, None)
        )
        for client in (*producers, middle, last):
            await started(client)
        middle.assign([TopicPartition(first, 0)])
        last.assign([TopicPartition(second if copied else first, 0)])
        await middle.seek_to_beginning()
        await last.seek_to_beginning()

        async def copy() -> None:
            while True:
                record = await middle.getone()
                async with producers[1].transaction():
                    await (await producers[1].send(second, record.value))
                    await producers[1].send_offsets_to_transaction({TopicPartition(first, 0): record.offset + 1}, group)

        async def trip(number: int) -> float:
            started = time.perf_counter()
            async with producers[0].transaction():
                await (await producers[0].send(first, b"%d" % number))
            async with asyncio.timeout(30):
                while (await last.getone()).value != b"%d" % number:
                    pass
            return (time.perf_counter() - started) * 1000

        copying = asyncio.create_task(copy()) if copied else None
        yield trip
        if copying is not None:
            copying.cancel()


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def measure(trips: int, seed: int, notify: str | None) -> None:
    """Make alternating trips, and print both results."""
    rng = random.Random(seed)
    to_publish: list[float] = []
    figures: dict[str, list[float]] = {"row committed to frame, three layers": [], "two bare round trips": []}
    with (
        kafka_server(quick_start=False) as broker,
        postgres_server("wheel", durable=True) as server,
        tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder,
    ):
        async with (
            relay(Path(folder), server.dsn(), broker.bootstrap, notify, to_publish) as ours,
            bare(broker.bootstrap) as chained,
        ):
            for number in range(WARM_UP + trips):
                for values, trip in zip(figures.values(), (ours, chained), strict=True):
                    # Idle, and out of step with every interval.
                    await asyncio.sleep(rng.uniform(0.03, 0.06))
                    took = await trip(number)
                    if number >= WARM_UP:
                        values.append(took)
    for name, values in [("row committed to publish topic", to_publish[WARM_UP:]), *figures.items()]:
        p50, p99 = statistics.median(values), percentile(values, 0.99)
        print(f"{name:<40} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms")
    ours_values, bare_values = figures.values()
    medians = statistics.median(ours_values) / statistics.median(bare_values)
    tails = percentile(ours_values, 0.99) / percentile(bare_values, 0.99)
    print(f"{'ratio':<40} p50 {medians:7.2f}      p99 {tails:7.2f}")


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--trips", type=int, default=300, help="of each kind (300)")
    parser.add_argument("--seed", type=int, default=1, help="of the pauses between them (1)")
    parser.add_argument("--without-wake-up", action="store_true", help="let the table be polled, and not notified of")
    arguments = parser.parse_args()
    uvloop.run(measure(arguments.trips, arguments.seed, None if arguments.without_wake_up else CHANNEL))


if __name__ == "__main__":
    main()
