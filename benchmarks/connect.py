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
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaConsumer

from benchmarks.peers_cases import CASES, Case, Servers
from benchmarks.peers_connect import usage
from services.standalone.embedded.process import ServerMissing
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server

_PROBES = 10**9
"""Records with numbers from here on are written until one of them arrives: only then does the connector run."""
_PATIENCE = 90
_NUMBER = re.compile(rb'"number":\s*(\d+)')


class Seen:
    """Counts the records of a topic as they become visible."""

    def __init__(self) -> None:
        self.numbers: Counter[int] = Counter()
        self.probed = False
        """Whether one of the probes is there."""
        self.last_at = 0.0

    def note(self, value: bytes) -> None:
        """Count a record."""
        found = _NUMBER.search(value)
        if found is not None and int(found[1]) >= _PROBES:
            self.probed = True
        elif found is not None:
            self.numbers[int(found[1])] += 1

    async def follow(self, bootstrap: str, topic: str) -> None:
        """Read the topic for as long as this task runs."""
        # A topic that was just created has no leader for a moment.
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            metadata_max_age_ms=1000,
        )
        await consumer.start()
        try:
            while True:
                found = await consumer.getmany(timeout_ms=500, max_records=5000)
                for record in (each for records in found.values() for each in records):
                    self.note(record.value or b"")
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
        await case.write(range(1000))  # what is loaded and compiled once
        await seen.reach(1000, quiet)
        before, began = usage(case.peer.pid), time.perf_counter()
        await case.write(range(1000, 1000 + records))
        await seen.reach(1000 + records, quiet)
        after = usage(case.peer.pid)
        found = len(seen.numbers) - 1000
        rate = found / max(0.001, seen.last_at - began)
    return f"{(after.cpu - before.cpu) / max(1, found) * 1e6:>9.1f} µs{rate:>10,.0f}/s{after.peak:>8.0f} MiB"


async def crash(
    make: Callable[[], Awaitable[Case]], servers: Servers, kills: int, rng: random.Random, quiet: float
) -> str:
    """Return what is lost and repeated when the process is killed while the upstream is written."""
    case = await make()
    written = 0
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
        for probe in range(_PROBES, _PROBES + _PATIENCE):
            await case.write(range(probe, probe + 1))
            await asyncio.sleep(1)
            if seen.probed:
                break
        else:
            raise RuntimeError(f"no record arrived within {_PATIENCE} s")
        yield seen
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        case.peer.kill()


async def run(servers: Servers, arguments: argparse.Namespace) -> None:
    """Print a line for each case."""
    await migrate(DatabaseOptions(url=servers.dsn))
    rng = random.Random(arguments.seed)
    print(
        f"{arguments.records:,} records of about 250 bytes; {arguments.kills} kills while 1,000 a second are written",
        flush=True,
    )
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
