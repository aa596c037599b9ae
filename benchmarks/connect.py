"""The system layer beside Kafka Connect, on the same input, to the same Kafka.

The lines of a growing file: Trelay, and the FileStreamSource of Kafka. The changes of a table in PostgreSQL, from its
log: Trelay (`mode: replication`) and Debezium; and by the time of the change: Trelay. Kafka Connect runs in standalone
mode as it is delivered, and in distributed mode with `exactly.once.source.support`.

For each: the CPU time of its process for a record, records a second and the most memory; then the same upstream is
written slowly while the process is killed and started again, and the records that are lost or repeated are counted, as
a consumer with `read_committed` sees them. A transaction that commits after a later one is part of the tables.
"""

import argparse
import asyncio
import random
import re
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.peers_connect import Connect, Peer, Trelay, usage
from services.standalone.embedded.process import ServerMissing
from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.topics import TopicsOptions
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.integration.services.system_api.service import program
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server

PAD = "x" * 200
_NUMBER = re.compile(rb'"number":\s*(\d+)')
_FLAT = {"key.converter": "org.apache.kafka.connect.storage.StringConverter"}
_JSON = {
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
}

Write = Callable[[range], Awaitable[None]]
"""Writes records with these numbers to the upstream."""


class Servers(NamedTuple):
    """What all of them use."""

    bootstrap: str
    dsn: str
    folder: Path


class Case(NamedTuple):
    """One upstream, and what reads it."""

    peer: Peer
    write: Write


class Seen:
    """Counts the records of a topic as they become visible."""

    def __init__(self) -> None:
        self.numbers: Counter[int] = Counter()
        self.last_at = 0.0

    async def follow(self, bootstrap: str, topic: str) -> None:
        """Read the topic, which may not be there yet, for as long as this task runs."""
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            while topic not in await consumer.topics():  # noqa: ASYNC110 -- it polls
                await asyncio.sleep(0.2)
            place = TopicPartition(topic, 0)
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            while True:
                found = await consumer.getmany(timeout_ms=500, max_records=5000)
                for record in found.get(place, ()):
                    self.numbers.update(int(number) for number in _NUMBER.findall(record.value or b"")[:1])
                if found:
                    self.last_at = time.perf_counter()
        finally:
            await consumer.stop()

    async def reach(self, count: int, timeout: float) -> None:
        """Wait until so many different numbers are there, or none has come for `timeout` seconds."""
        self.last_at = time.perf_counter()
        while len(self.numbers) < count and time.perf_counter() - self.last_at < timeout:  # noqa: ASYNC110 -- it polls
            await asyncio.sleep(0.02)


async def measure(make: Callable[[], Awaitable[Case]], servers: Servers, records: int, quiet: float) -> str:
    """Return CPU, rate and memory for records that are written at once."""
    case = await make()
    async with followed(case, servers) as seen:
        await case.write(range(1, 1001))  # what is loaded and compiled once
        await seen.reach(1001, quiet)
        before, began = usage(case.peer.pid), time.perf_counter()
        await case.write(range(1001, 1001 + records))
        await seen.reach(1001 + records, quiet)
        after = usage(case.peer.pid)
        found = len(seen.numbers) - 1001
        rate = found / max(0.001, seen.last_at - began)
    return f"{(after.cpu - before.cpu) / max(1, found) * 1e6:>9.1f} µs{rate:>10,.0f}/s{after.peak:>8.0f} MiB"


async def crash(
    make: Callable[[], Awaitable[Case]], servers: Servers, kills: int, rng: random.Random, quiet: float
) -> str:
    """Return what is lost and repeated when the process is killed while the upstream is written."""
    case = await make()
    written = 1
    async with followed(case, servers) as seen:

        async def writing() -> None:
            nonlocal written
            while True:
                await case.write(range(written, written + 20))
                written += 20
                await asyncio.sleep(0.02)

        task = asyncio.create_task(writing())
        for _ in range(kills):
            await asyncio.sleep(rng.uniform(2, 6))
            case.peer.kill()
            case.peer.start()
            await case.peer.ready()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await seen.reach(written, quiet)
        await asyncio.sleep(2)
        lost = sum(number not in seen.numbers for number in range(written))
        repeated = sum(seen.numbers.values()) - len(seen.numbers)
    return f"{written:>9,} written{lost:>7,} lost{repeated:>9,} repeated"


@asynccontextmanager
async def followed(case: Case, servers: Servers) -> AsyncIterator[Seen]:
    """Run the process of a case until it has brought the first record."""
    seen = Seen()
    following = asyncio.create_task(seen.follow(servers.bootstrap, case.peer.topic))
    try:
        case.peer.start()
        await case.peer.ready()
        await case.write(range(1))
        await seen.reach(1, 120)
        if not seen.numbers:
            raise RuntimeError("the first record did not arrive within 120 s")
        yield seen
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        case.peer.kill()


def new_file(servers: Servers) -> tuple[Path, Write]:
    """Return a new file, and what appends lines to it."""
    path = servers.folder / f"{uuid.uuid4().hex}.ndjson"
    path.touch()

    async def write(numbers: range) -> None:
        with path.open("a") as file:
            file.write("".join(f'{{"id":"{number}","number":{number},"pad":"{PAD}"}}\n' for number in numbers))

    return path, write


async def new_table(servers: Servers) -> tuple[str, Write]:
    """Return a new table, and what inserts rows; of ten rows, the first is committed after the others."""
    table = f"numbers_{uuid.uuid4().hex[:8]}"
    now, late = [await asyncpg.connect(servers.dsn) for _ in range(2)]
    await now.execute(
        f"CREATE TABLE {table} (id bigint PRIMARY KEY, number bigint, pad text, at timestamptz DEFAULT now())"
    )
    await now.execute(f"CREATE INDEX ON {table} (at, id); CREATE PUBLICATION {table} FOR TABLE {table}")
    insert = f"INSERT INTO {table} SELECT n, n, '{PAD}' FROM unnest($1::bigint[]) n"

    async def write(numbers: range) -> None:
        async with late.transaction():
            await late.execute(insert, [number for number in numbers if number % 10 == 0])
            await now.execute(insert, [number for number in numbers if number % 10])

    return table, write


async def trelay(servers: Servers, write: Write, source: dict[str, object]) -> Case:
    """Return the system layer with one source."""
    name = f"trelay-{uuid.uuid4().hex[:8]}"
    options = KafkaOptions(servers=servers.bootstrap, topics=TopicsOptions(prefix=name, partitions=1))
    async with connect(options, DatabaseOptions(url=servers.dsn)) as bus:
        await bus.ensure_topics(options.topics.all())
    folder = servers.folder / name
    folder.mkdir()
    settings = {"type": "t", "subject": "id", "channel": "numbers"} | source
    running = program(folder, servers.dsn, options, {name: settings}, node=name)
    return Case(Trelay(running, options.topics.publish), write)


async def trelay_file(servers: Servers) -> Case:
    """Trelay follows a file."""
    path, write = new_file(servers)
    return await trelay(servers, write, {"kind": "file", "path": str(path)})


async def trelay_table(servers: Servers, **more: object) -> Case:
    """Trelay reads a table."""
    table, write = await new_table(servers)
    if more["mode"] == "replication":
        more |= {"slot": table, "publication": table, "create_slot": True, "initial_snapshot": False}
    return await trelay(servers, write, {"kind": "table", "url": servers.dsn, "table": table} | more)


async def connect_file(servers: Servers, *, exactly_once: bool) -> Case:
    """Kafka Connect follows a file."""
    path, write = new_file(servers)
    name = f"file-{uuid.uuid4().hex[:8]}"
    connector = {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "file": str(path),
        "topic": name,
        "tasks.max": "1",
    }
    flat = _FLAT | {"value.converter": _FLAT["key.converter"]}
    return Case(Connect(servers.folder, name, servers.bootstrap, name, connector, exactly_once, flat), write)


async def debezium(servers: Servers, *, exactly_once: bool) -> Case:
    """Debezium reads the log of a table."""
    table, write = await new_table(servers)
    database = urlsplit(servers.dsn)
    connector = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "database.hostname": "127.0.0.1",
        "database.port": str(database.port),
        "database.user": str(database.username),
        "database.password": "none",
        "database.dbname": database.path.strip("/"),
        "topic.prefix": table,
        "table.include.list": f"public.{table}",
        "slot.name": table,
        "publication.name": table,
        "snapshot.mode": "no_data",
        "tasks.max": "1",
    }
    topic = f"{table}.public.{table}"
    return Case(Connect(servers.folder, table, servers.bootstrap, topic, connector, exactly_once, _FLAT | _JSON), write)


CASES: dict[str, Callable[[Servers], Awaitable[Case]]] = {
    "file: Trelay": trelay_file,
    "file: FileStreamSource": lambda servers: connect_file(servers, exactly_once=False),
    "file: FileStreamSource, exactly once": lambda servers: connect_file(servers, exactly_once=True),
    "table, log: Trelay": lambda servers: trelay_table(servers, mode="replication"),
    "table, log: Debezium": lambda servers: debezium(servers, exactly_once=False),
    "table, log: Debezium, exactly once": lambda servers: debezium(servers, exactly_once=True),
    "table, by time: Trelay": lambda servers: trelay_table(servers, mode="incremental", updated_at_column="at"),
}


async def run(servers: Servers, arguments: argparse.Namespace) -> None:
    """Print a line for each case."""
    await migrate(DatabaseOptions(url=servers.dsn))
    rng = random.Random(arguments.seed)
    print(f"{arguments.records:,} records of about 250 bytes; {arguments.kills} kills while 1,000 a second are written")
    for name, make in CASES.items():
        if not name.startswith(arguments.only):
            continue
        made = partial(make, servers)
        for work in (
            partial(measure, made, servers, arguments.records, arguments.quiet),
            partial(crash, made, servers, arguments.kills, rng, arguments.quiet),
        ):
            try:
                print(f"{name:<38}{await work()}", flush=True)
            except (RuntimeError, TimeoutError, AssertionError) as exc:
                print(f"{name:<38}failed: {type(exc).__name__} {str(exc)[:200]}", flush=True)


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="that are written at once (100000)")
    parser.add_argument("--kills", type=int, default=3, help="of each process (3)")
    parser.add_argument("--quiet", type=float, default=30, help="seconds without a record until others count as lost")
    parser.add_argument("--seed", type=int, default=1, help="of the times of the kills (1)")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    parser.add_argument("--keep", type=Path, help="a folder for the logs")
    arguments = parser.parse_args()
    try:
        with (
            kafka_server(quick_start=False) as kafka,
            postgres_server(durable=True, settings={"wal_level": "logical", "max_replication_slots": "20"}) as postgres,
            tempfile.TemporaryDirectory(prefix="trelay-connect-") as folder,
        ):
            place = arguments.keep or Path(folder)
            place.mkdir(parents=True, exist_ok=True)
            uvloop.run(run(Servers(kafka.bootstrap, postgres.dsn(), place), arguments))
    except ServerMissing as exc:
        print(f"skipped: {exc}")


if __name__ == "__main__":
    main()
