"""NDJSON file to publish topic, exactly once, compared with minimal loops on the same servers.

Measures the CPU time of this process for an event of 1 KB (without that of the servers), and the rate. The system layer
runs completely: the poller with its lease, the file source with its checks, and transactions of 1,000 events with
rejects and checkpoint, two in flight. The bare loop on Kafka reads lines, prepends a constant head to each and writes
whole batches in aiokafka's transactions, with two alternating producers; the one on PostgreSQL copies the same into a
table. Neither checks anything. The cost of opening is in all of them, but not that of closing. The measurements
alternate, and the medians are compared.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import asyncpg
import uvloop

from benchmarks.bare import PER_TRANSACTION, BareRecords, bare_record, publish_bare
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line, measured
from benchmarks.polling import polled
from services.system_api.sources.file.opening import file_source
from services.system_api.sources.file.options import FileSourceOptions
from shared.bus.connect import BusOptions
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.events.event import Channel
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server


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
    with path.open("rb") as file:
        numbered = enumerate(file)
        while lines := list(islice(numbered, PER_TRANSACTION)):
            yield [bare_record(b"%d" % number, line[:-1]) for number, line in lines]


async def bare_kafka(path: Path, events: int, servers: str) -> Cost:
    return await publish_bare(bare_lines(path), events, servers)


async def bare_postgres(path: Path, events: int, dsn: str) -> Cost:
    async def work() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("CREATE TABLE IF NOT EXISTS bare (key bytea, value bytea, trail bytea)")
            for batch in bare_lines(path):
                rows = [(b"orders.eu", value, headers[0][1]) for value, headers in batch]
                await connection.copy_records_to_table("bare", records=rows)
        finally:
            await connection.close()

    return await measured(work(), events)


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
    parser.add_argument("--events", type=int, default=200_000, help="lines of the file (200000)")
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
