"""NDJSON file to publish topic, exactly once, compared with minimal loops on the same servers.

Measures the CPU time of this process for an event of 1 KB (without that of the servers), and the rate. The system layer
runs completely: the poller with its lease, the file source with its checks, and transactions of 1,000 events with
rejects and checkpoint, two in flight. The bare loop on Kafka reads lines, prepends a constant head to each and writes
whole batches in aiokafka's transactions, with two alternating producers; the one on PostgreSQL copies the same into a
table. Neither checks anything. The measurements alternate, and the medians are compared.
"""

import argparse
import asyncio
import json
import random
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import uvloop
from aiokafka import AIOKafkaProducer

from benchmarks.bare import bare_producer
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line, measured
from benchmarks.polling import polled
from services.system_api.sources.file.opening import file_source
from services.system_api.sources.file.options import FileSourceOptions
from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.topics import TopicsOptions
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.events.event import Channel
from shared.events.headers import CONTENT_TYPE, PROVENANCE
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server

PER_TRANSACTION = 1000
HEAD = b'{"specversion":"1.0","source":"/sources/orders","type":"order.updated","channel":"orders.eu","id":"orders:'


BareRecords = list[tuple[bytes, list[tuple[str, bytes]]]]
"""Values and headers."""


def write_lines(path: Path, count: int) -> float:
    """Write the file; return the mean size of a line."""
    rng = random.Random(1)
    with path.open("wb") as file:
        for number in range(count):
            order = {
                "id": f"order-{number}",
                "customer": {"id": rng.randrange(10**6), "name": "Zoë Example", "vip": bool(rng.getrandbits(1))},
                "updated": "2026-01-02T03:04:05.678Z",
                "items": [
                    {
                        "sku": f"{rng.getrandbits(32):08x}",
                        "qty": rng.randrange(9),
                        "price": round(rng.random() * 99, 2),
                    }
                    for _ in range(21)
                ],
            }
            file.write(json.dumps(order, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
    return path.stat().st_size / count


async def system_layer(path: Path, events: int, bus_options: BusOptions, database: DatabaseOptions) -> Cost:
    options = FileSourceOptions(
        kind="file",
        path=str(path),
        type="order.updated",
        subject="id",
        channel=Channel("orders.eu"),
        batch=PER_TRANSACTION,
    )
    return await polled(file_source, options, events, bus_options, database)


def bare_lines(path: Path) -> Iterator[BareRecords]:
    """Yield the values and headers of one transaction at a time."""
    records: BareRecords = []
    with path.open("rb") as file:
        for number, line in enumerate(file):
            identity = b"%d" % number
            records.append(
                (
                    b'%b%b","data":%b}' % (HEAD, identity, line[:-1]),
                    [CONTENT_TYPE, (PROVENANCE, b"orders 1 orders:" + identity)],
                )
            )
            if len(records) == PER_TRANSACTION:
                yield records
                records = []
    if records:
        yield records


async def bare_kafka(path: Path, events: int, servers: str) -> Cost:
    return await publish_bare(bare_lines(path), events, servers)


async def publish_bare(batches: Iterable[BareRecords], events: int, servers: str) -> Cost:
    """Write each batch in a transaction, two of them at a time."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    async with connect(KafkaOptions(servers=servers), DatabaseOptions()) as bus:
        await bus.ensure_topics(TopicsOptions(prefix=topic, partitions=1).all())
    names = TopicsOptions(prefix=topic)
    async with AsyncExitStack() as stack:
        producers = [await stack.enter_async_context(bare_producer(servers)) for _ in range(2)]

        async def work() -> None:
            commits: list[asyncio.Task[None]] = []
            for turn, batch in enumerate(batches):
                producer = producers[turn % 2]
                if len(commits) == 2:
                    await commits.pop(0)
                await producer.begin_transaction()
                sent = await send_bare(producer, names.publish, batch)
                checkpoint = await producer.send(names.checkpoints, b"%d" % turn, b"orders", partition=0)
                before = commits[-1] if commits else None
                commits.append(asyncio.create_task(commit_bare(producer, [*sent, checkpoint], before)))
            await asyncio.gather(*commits)

        return await measured(work(), events)


async def commit_bare(
    producer: AIOKafkaProducer, sent: list[asyncio.Future[object]], before: asyncio.Task[None] | None
) -> None:
    await asyncio.gather(*sent)
    if before is not None:
        await before
    await producer.commit_transaction()


async def send_bare(producer: AIOKafkaProducer, topic: str, records: BareRecords) -> list[asyncio.Future[object]]:
    sent = []
    batch = producer.create_batch()
    for value, headers in records:
        if batch.append(key=b"orders.eu", value=value, timestamp=None, headers=headers) is None:
            sent.append(await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            batch.append(key=b"orders.eu", value=value, timestamp=None, headers=headers)
    sent.append(await producer.send_batch(batch, topic, partition=0))
    return sent


async def bare_postgres(path: Path, events: int, dsn: str) -> Cost:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS bare (key bytea, value bytea, trail bytea)")

        async def work() -> None:
            for batch in bare_lines(path):
                rows = [(b"orders.eu", value, headers[0][1]) for value, headers in batch]
                await connection.copy_records_to_table("bare", records=rows)

        return await measured(work(), events)
    finally:
        await connection.close()


async def run(path: Path, events: int, rounds: int, servers: str, dsn: str) -> None:
    database = DatabaseOptions(url=dsn)
    await migrate(database)
    size = write_lines(path, events)
    as_services_run()
    print(
        f"{events:,} lines of {size:.0f} bytes to the publish topic, {PER_TRANSACTION} a transaction, {rounds} rounds"
    )
    print(HEADING)
    kafka = {name: KafkaOptions(servers=servers, compression=name) for name in ("none", "zstd")}
    bare, *found = await alternate(
        rounds,
        lambda: bare_kafka(path, events, servers),
        *(lambda options=options: system_layer(path, events, options, database) for options in kafka.values()),
    )
    print(line("Kafka, bare aiokafka", bare, bare))
    for name, cost in zip(kafka, found, strict=True):
        print(line(f"Kafka, system layer, {name}", cost, bare))
    copied, cost = await alternate(
        rounds,
        lambda: bare_postgres(path, events, dsn),
        lambda: system_layer(path, events, PostgresBusOptions(), database),
    )
    print(line("PostgreSQL, bare COPY", copied, bare))
    print(line("PostgreSQL, system layer", cost, bare))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000, help="lines of the file (50000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder,
        kafka_server(quick_start=False) as kafka,
        postgres_server(durable=True) as postgres,
    ):
        path = Path(folder) / "orders.ndjson"
        uvloop.run(run(path, arguments.events, arguments.rounds, kafka.bootstrap, postgres.dsn()))


if __name__ == "__main__":
    main()
