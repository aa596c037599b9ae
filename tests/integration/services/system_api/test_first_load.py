"""A first load of many rows, with writers that go on and a process that is killed: every row once, in little memory.

`TRELAY_FIRST_LOAD_ROWS=10000000` loads as many; the default is for `make test-chaos`.
"""

import asyncio
import os
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.runtime.tasks import Tasks
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import program
from tests.servers.databases import Databases
from tests.servers.kafka import Kafka
from tests.servers.migrated import with_tables

ROWS = int(os.environ.get("TRELAY_FIRST_LOAD_ROWS", "200000"))
MEMORY_LIMIT = 400
"""MiB. About 150 of them are the process itself."""
_PORTION = 500_000
_IDENTITY = re.compile(rb'"id":"rows:(\d+)@')
_HELD = 3.0
"""Seconds that a transaction stays open: others commit rows with later times meanwhile."""


class Table:
    """A table with many rows, and writers that go on."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self._url = url
        self._rng = rng
        self.last = ROWS
        """The highest key that was given."""

    async def fill(self) -> None:
        """Write the rows that are there at the beginning, in narrow rows."""
        async with connected(self._url) as connection:
            await connection.execute("CREATE TABLE rows (id bigint PRIMARY KEY, n int, at timestamptz DEFAULT now())")
            for first in range(1, ROWS + 1, _PORTION):
                await connection.execute(
                    "INSERT INTO rows SELECT n, 0, now() - interval '2 days' + n * interval '10 microseconds'"
                    f" FROM generate_series({first}, {min(first + _PORTION - 1, ROWS)}) n"
                )
            await connection.execute("CREATE INDEX ON rows (at, id)")
            await connection.execute("ANALYZE rows")

    async def write(self, *, held: bool) -> None:
        """Insert rows until this is cancelled; with `held`, in transactions that stay open for long."""
        async with connected(self._url) as connection:
            while True:
                async with connection.transaction():
                    for _ in range(self._rng.randrange(1, 30)):
                        self.last += 1
                        await connection.execute("INSERT INTO rows VALUES ($1, 1)", self.last)
                    await asyncio.sleep(_HELD if held else 0.01)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def peak_memory(running: Program) -> float:
    """Return the most memory that the process had, in MiB; see proc(5)."""
    lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0]) / 1024


class Seen:
    """The rows that are published: how often each, in one byte of each."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self.counts = bytearray()
        self.total = 0

    async def read(self, bus: Bus) -> None:
        """Count what the topic has now."""
        self.counts, self.total = bytearray(ROWS * 2 + 1_000_000), 0
        bounds = await bus.bounds(self._topic)
        async with bus.reader(self._topic, {number: first for number, (first, _) in bounds.items()}) as reader:
            while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
                for record in await reader.read(wait=1.0):
                    found = _IDENTITY.search(record.value or b"")
                    assert found is not None
                    self.counts[int(found[1])] += 1
                    self.total += 1


async def end_of(bus: Bus, topic: str) -> int:
    """Return how many offsets the topic has given."""
    return sum(end for _, end in (await bus.bounds(topic)).values())


@pytest.mark.chaos
@pytest.mark.timeout(3600)
async def test_a_first_load_is_exact_and_goes_on_without_a_gap(
    tmp_path: Path, databases: Databases, kafka: Kafka, unique_name: str, programs: list[Program], seed: int
) -> None:
    print(f"{ROWS:,} rows")
    rng = random.Random(seed)
    bus_options = KafkaOptions(servers=kafka.bootstrap, topics=TopicsOptions(prefix=unique_name, partitions=1))
    topic = bus_options.topics.publish
    async with databases.fresh(with_tables) as database:
        table = Table(database, rng)
        await table.fill()
        source = {"kind": "table", "url": database, "table": "rows", "type": "t", "channel": "rows", "batch": 4000}
        source |= {"updated_at_column": "at"}
        running = program(tmp_path, database, bus_options, {"rows": source}, node="only")
        programs.append(running)
        async with connect(bus_options, DatabaseOptions(url=database)) as bus:
            await bus.ensure_topics(bus_options.topics.all())
            began = time.perf_counter()
            running.start()
            async with Tasks() as writers:
                for number in range(3):
                    writers.keep(f"writer {number}", table.write(held=number == 0))
                peaks = []
                for share in (rng.uniform(0.3, 0.6), 1.0):
                    await _reach(bus, topic, int(ROWS * share), running)
                    peaks.append(peak_memory(running))
                    if share < 1:
                        running.kill()
                        running.start()
                took = time.perf_counter() - began
                await asyncio.sleep(2 * _HELD)  # live, beside the writers
            await running.ready()
            async with connected(database) as connection:
                expected = [row[0] for row in await connection.fetch("SELECT id FROM rows WHERE id > $1", ROWS)]
            seen = Seen(topic)
            async with asyncio.timeout(300):
                while seen.total < ROWS + len(expected):
                    await asyncio.sleep(1)
                    await seen.read(bus)
    print(f"loaded in {took:.0f} s, {ROWS / took:,.0f} rows/s, {len(expected):,} live; peak {max(peaks):.0f} MiB")
    assert seen.total == ROWS + len(expected), f"seed {seed}: {seen.total - ROWS - len(expected)} repeated"
    assert seen.counts.count(1) == seen.total, f"seed {seed}: rows are repeated"
    assert all(seen.counts[key] == 1 for key in expected), f"seed {seed}: rows that were written meanwhile are missing"
    assert max(peaks) < MEMORY_LIMIT


async def _reach(bus: Bus, topic: str, count: int, running: Program) -> None:
    """Wait until so many records are published."""
    while await end_of(bus, topic) < count:
        assert running.status is None, running.tail()
        await asyncio.sleep(0.5)
