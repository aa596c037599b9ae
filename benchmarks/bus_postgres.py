"""Compares the bus on PostgreSQL with bare asyncpg that moves the same rows, on one server that flushes to its disk.

Both write, and copy, records of 1 KB exactly once, 1,000 in each transaction. It reports the CPU time of this process
and of the server's processes for each record, and records a second. The bare write is a COPY of encoded rows into one
indexed table; the bare copy fetches rows by offset, copies them and stores the offset in one transaction. Small
transactions follow, then the round trip of one record without other load, beside a bare INSERT and NOTIFY in a commit.
"""

import argparse
import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import asyncpg
import psutil
import uvloop

from benchmarks.bus_records import events
from services.standalone.embedded.postgres import PostgresServer
from shared.bus.postgres import PostgresBusOptions, connect_postgres
from shared.bus.postgres.records import pack_headers
from shared.bus.protocol import Bus, Outgoing, TopicOptions, TopicPartition, Transaction, Writer
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.runtime.allocation import keep_freed_memory
from tests.servers.postgres import Origin, postgres_server

PER_TRANSACTION = 1000
PARTITIONS = 4
GROUP = "bench"

BARE_TABLE = """
CREATE TABLE {name} (
    place bigint NOT NULL, written_ms bigint NOT NULL, key bytea NOT NULL, value bytea, headers bytea,
    PRIMARY KEY (place)
) WITH (toast_tuple_target = 8160);
ALTER TABLE {name} ALTER value SET STORAGE EXTERNAL;
"""
BARE_COLUMNS = ["place", "written_ms", "key", "value", "headers"]


class Cost(NamedTuple):
    """The measured cost."""

    cpu: float
    """Microseconds of this process a record."""
    server: float
    """Microseconds of the server's processes a record."""
    rate: float
    """Records a second."""


class Bench:
    """The measurements on one server."""

    def __init__(self, server: PostgresServer, records: list[Outgoing], rounds: int) -> None:
        self.server = server
        self.database = DatabaseOptions(url=server.dsn())
        self.records = records
        self.rounds = rounds

    @property
    def total(self) -> int:
        return len(self.records) * self.rounds

    def batches(self, size: int = PER_TRANSACTION) -> list[list[Outgoing]]:
        return [self.records[start : start + size] for start in range(0, len(self.records), size)] * self.rounds

    async def measured(self, work: Callable[[], Awaitable[None]], records: int) -> Cost:
        async with self.bare() as connection:
            await connection.execute("CHECKPOINT")  # so that it does not run during the measurement
        server, cpu, clock = self.server_cpu(), time.process_time(), time.perf_counter()
        await work()
        rate = records / (time.perf_counter() - clock)
        mine = time.process_time() - cpu
        # Connections are opened before and closed after the measurement; other processes that ended are not counted.
        theirs = sum(seconds - server.get(pid, 0.0) for pid, seconds in self.server_cpu().items())
        return Cost(mine / records * 1e6, theirs / records * 1e6, rate)

    def server_cpu(self) -> dict[int, float]:
        """Return the CPU seconds of each process of the server."""
        parent = psutil.Process(self.server.pid)
        found = {}
        for process in (parent, *parent.children(recursive=True)):
            with suppress(OSError):  # it has just ended
                run = Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]
                found[process.pid] = int(run) / 1e9
        return found

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.server.dsn())
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        async with connect_postgres(PostgresBusOptions(), self.database) as bus:
            yield bus

    async def topic(self, partitions: int = PARTITIONS) -> str:
        name = f"bench-{uuid.uuid4().hex[:8]}"
        async with self.bus() as bus:
            await bus.ensure_topics([TopicOptions(name=name, partitions=partitions)])
        return name

    async def bare_table(self) -> str:
        name = f"bare_{uuid.uuid4().hex[:8]}"
        async with self.bare() as connection:
            await connection.execute(BARE_TABLE.format(name=name))
        return name

    async def write(self, size: int = PER_TRANSACTION) -> Cost:
        topic = await self.topic()
        async with self.bus() as bus, bus.writer(topic) as writer:
            await warmed_up(writer, topic, self.records[:size])
            batches = self.batches(size)[: 2000 if size < PER_TRANSACTION else None]

            async def work() -> None:
                for batch in batches:
                    await submit(writer, Transaction({topic: batch}))
                await writer.commit(Transaction())

            return await self.measured(work, sum(map(len, batches)))

    async def write_bare(self, size: int = PER_TRANSACTION) -> Cost:
        table = await self.bare_table()
        async with self.bare() as connection:
            batches = self.batches(size)[: 2000 if size < PER_TRANSACTION else None]

            async def work() -> None:
                place = 0
                for batch in batches:
                    rows = [
                        (at, 0, key, value, pack_headers(headers))
                        for at, (key, value, headers) in enumerate(batch, place)
                    ]
                    await connection.copy_records_to_table(table, records=rows, columns=BARE_COLUMNS)
                    place += len(batch)

            return await self.measured(work, sum(map(len, batches)))

    async def copy(self) -> Cost:
        source, target = await self.topic(1), await self.topic(1)
        async with self.bus() as bus, bus.writer(target) as writer:
            for batch in self.batches():
                await submit(writer, Transaction({source: batch}))
            await writer.commit(Transaction())
            await warmed_up(writer, target, self.records[:PER_TRANSACTION])
            async with bus.reader(source, {0: 0}) as reader:
                position = TopicPartition(source, 0)

                async def work() -> None:
                    copied = 0
                    while copied < self.total:
                        found = await reader.read(PER_TRANSACTION)
                        made = [Outgoing(record.key or b"", record.value, record.headers) for record in found]
                        transaction = Transaction({target: made})
                        transaction.commit_offset(GROUP, position, found[-1].offset + 1)
                        await submit(writer, transaction)
                        copied += len(found)
                    await writer.commit(Transaction())

                return await self.measured(work, self.total)

    async def copy_bare(self) -> Cost:
        source, target = await self.bare_table(), await self.bare_table()
        async with self.bare() as connection:
            for number, batch in enumerate(self.batches()):
                rows = [
                    (at, 0, key, value, pack_headers(headers))
                    for at, (key, value, headers) in enumerate(batch, number * PER_TRANSACTION)
                ]
                await connection.copy_records_to_table(source, records=rows, columns=BARE_COLUMNS)
            await connection.execute(f"CREATE TABLE {target}_offset AS SELECT 0::bigint AS place")
            query = f"SELECT {', '.join(BARE_COLUMNS)} FROM {source} WHERE place >= $1 ORDER BY place LIMIT $2"

            async def work() -> None:
                place = 0
                while place < self.total:
                    rows = await connection.fetch(query, place, PER_TRANSACTION)
                    place = rows[-1]["place"] + 1
                    async with connection.transaction():
                        await connection.copy_records_to_table(target, records=map(tuple, rows), columns=BARE_COLUMNS)
                        await connection.execute(f"UPDATE {target}_offset SET place = $1", place)

            return await self.measured(work, self.total)

    async def round_trips(self, count: int) -> dict[str, list[float]]:
        """Return round trips in milliseconds, measured alternately."""
        topic, table = await self.topic(1), await self.bare_table()
        taken: dict[str, list[float]] = {"bare INSERT and NOTIFY": [], "bus, in one process": [], "bus, by NOTIFY": []}
        notified = asyncio.Event()
        async with (
            self.bus() as bus,
            self.bus() as another,
            bus.writer(topic) as writer,
            bus.reader(topic, {0: 0}) as here,
            another.reader(topic, {0: 0}) as there,
            self.bare() as sender,
            self.bare() as listener,
        ):
            await listener.add_listener("bare", lambda *_: notified.set())
            for number, record in enumerate(self.records[:count]):
                for name, reader in (("bus, in one process", here), ("bus, by NOTIFY", there)):
                    reading = asyncio.ensure_future(reader.read())
                    await asyncio.sleep(0.01)
                    began = time.perf_counter()
                    await writer.commit(Transaction({topic: [record]}))
                    await reading
                    taken[name].append((time.perf_counter() - began) * 1000)
                    await (there if reader is here else here).read()
                notified.clear()
                began = time.perf_counter()
                row = (number, 0, record.key, record.value, pack_headers(record.headers))
                async with sender.transaction():
                    await sender.execute(f"INSERT INTO {table} VALUES ($1, $2, $3, $4, $5)", *row)
                    await sender.execute("NOTIFY bare")
                await notified.wait()
                taken["bare INSERT and NOTIFY"].append((time.perf_counter() - began) * 1000)
        return {name: times[10:] for name, times in taken.items()}


async def submit(writer: Writer, transaction: Transaction) -> None:
    _ = await writer.submit(transaction)


async def warmed_up(writer: Writer, topic: str, records: list[Outgoing]) -> None:
    """Open the connections and prepare the statements before the measurement."""
    for _ in range(4):
        await submit(writer, Transaction({topic: records}))
    await writer.commit(Transaction())


def line(name: str, cost: Cost, bare: Cost) -> str:
    return (
        f"{name:<40}{cost.cpu:>8.2f} µs{cost.server:>9.2f} µs{cost.rate:>11,.0f}/s"
        f"{cost.cpu / bare.cpu:>9.2f} x{cost.server / bare.server:>7.2f} x{cost.rate / bare.rate:>7.2f} x"
    )


async def run(server: PostgresServer, records: int, rounds: int, trips: int) -> None:
    bench = Bench(server, events(records), rounds)
    await migrate(bench.database)
    size = statistics.mean(len(record.value or b"") for record in bench.records)
    print(f"PostgreSQL {server.version}; {bench.total:,} records of {size:.0f} bytes, exactly once")
    print(f"{'':<40}{'ours':>11}{'server':>12}{'records':>13}{'of bare: ours, server, rate':>30}")
    await bench.write_bare()
    bare = await bench.write_bare()
    print(line("write 1,000 at once, bare COPY", bare, bare))
    print(line("write 1,000 at once, bus", await bench.write(), bare))
    bare = await bench.copy_bare()
    print(line("copy 1,000 at once, bare", bare, bare))
    print(line("copy 1,000 at once, bus", await bench.copy(), bare))
    for few in (1, 20):
        bare = await bench.write_bare(few)
        print(line(f"write {few} at once, bare COPY", bare, bare))
        print(line(f"write {few} at once, bus", await bench.write(few), bare))
    taken = await bench.round_trips(trips)
    limit = statistics.median(taken["bare INSERT and NOTIFY"])
    for name, times in taken.items():
        middle, late = statistics.median(times), statistics.quantiles(times, n=100)[98]
        print(f"round trip, {name:<28} p50 {middle:.2f} ms, p99 {late:.2f} ms, {middle / limit:.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="of each measurement (100000)")
    parser.add_argument("--trips", type=int, default=300, help="round trips (300)")
    parser.add_argument("--postgres", choices=["wheel", "system"], default="wheel", help="which server (wheel)")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the services do; the bare loops have it too
    size = min(arguments.records, 20_000)
    origin: Origin = arguments.postgres
    with postgres_server(origin, durable=True) as server:
        uvloop.run(run(server, size, max(1, arguments.records // size), arguments.trips))


if __name__ == "__main__":
    main()
