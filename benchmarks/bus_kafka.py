"""Compares the bus on Kafka with a bare loop of aiokafka's producer and consumer, on one broker.

Both write, and copy, records of 1 KB exactly once, 1,000 in each transaction. It reports the CPU time of this process
for each record, without the broker's, and records a second; then the round trip of one record in a transaction without
other load, from the begin of the commit until a reader has the record.
"""

import argparse
import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition as BarePosition

from benchmarks.bare import bare_producer
from benchmarks.bus_records import events
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.kafka.options import Compression
from shared.bus.protocol import Bus, Outgoing, TopicOptions, TopicPartition, Transaction, Writer
from shared.runtime.allocation import keep_freed_memory
from tests.servers.kafka import kafka_server

PER_TRANSACTION = 1000
COMPRESSIONS: tuple[Compression, ...] = ("none", "lz4", "snappy", "zstd")


class Cost(NamedTuple):
    """The measured cost."""

    cpu: float
    """Microseconds a record."""
    rate: float
    """Records a second."""


async def measured(work: Callable[[], Awaitable[None]], records: int) -> Cost:
    cpu, clock = time.process_time(), time.perf_counter()
    await work()
    return Cost((time.process_time() - cpu) / records * 1e6, records / (time.perf_counter() - clock))


class Bench:
    """The measurements on one broker."""

    def __init__(self, servers: str, records: list[Outgoing], rounds: int) -> None:
        self.servers = servers
        self.records = records
        self.rounds = rounds

    @property
    def total(self) -> int:
        return len(self.records) * self.rounds

    def batches(self) -> list[list[Outgoing]]:
        return [
            self.records[start : start + PER_TRANSACTION] for start in range(0, len(self.records), PER_TRANSACTION)
        ] * self.rounds

    @asynccontextmanager
    async def bus(self, compression: Compression = "none") -> AsyncIterator[Bus]:
        async with connect_kafka(KafkaOptions(kind="kafka", servers=self.servers, compression=compression)) as bus:
            yield bus

    async def topic(self, partitions: int = 1) -> str:
        name = f"bench-{uuid.uuid4().hex[:8]}"
        async with self.bus() as bus:
            await bus.ensure_topics([TopicOptions(name=name, partitions=partitions)])
        return name

    @asynccontextmanager
    async def bare_consumer(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign([BarePosition(topic, 0)])
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def write(self, compression: Compression) -> Cost:
        topic = await self.topic()
        async with self.bus(compression) as bus, bus.writer(topic) as writer:

            async def work() -> None:
                for batch in self.batches():
                    await submit(writer, Transaction({topic: batch}))
                await writer.commit(Transaction())

            return await measured(work, self.total)

    async def write_bare(self) -> Cost:
        topic = await self.topic()
        async with bare_producer(self.servers) as producer:

            async def work() -> None:
                for batch in self.batches():
                    await producer.begin_transaction()
                    await send_bare(producer, topic, batch)
                    await producer.commit_transaction()

            return await measured(work, self.total)

    async def copy(self, compression: Compression) -> Cost:
        source, target = await self.filled(compression), await self.topic()
        async with (
            self.bus(compression) as bus,
            bus.writer(target) as writer,
            bus.reader(source, {0: 0}) as reader,
        ):
            position = TopicPartition(source, 0)

            async def work() -> None:
                copied = 0
                while copied < self.total:
                    found = await reader.read(PER_TRANSACTION)
                    made = [Outgoing(record.key or b"", record.value, record.headers) for record in found]
                    transaction = Transaction({target: made})
                    transaction.commit_offset(source, position, found[-1].offset + 1)
                    await submit(writer, transaction)
                    copied += len(found)
                await writer.commit(Transaction())

            return await measured(work, self.total)

    async def copy_bare(self) -> Cost:
        source, target = await self.filled("none"), await self.topic()
        async with self.bare_consumer(source) as consumer, bare_producer(self.servers) as producer:
            position = BarePosition(source, 0)

            async def work() -> None:
                copied = 0
                while copied < self.total:
                    fetched = await consumer.getmany(timeout_ms=1000, max_records=PER_TRANSACTION)
                    found = fetched.get(position)
                    if not found:
                        continue
                    await producer.begin_transaction()
                    made = [Outgoing(record.key, record.value, list(record.headers)) for record in found]
                    await send_bare(producer, target, made)
                    await producer.send_offsets_to_transaction({position: found[-1].offset + 1}, source)
                    await producer.commit_transaction()
                    copied += len(found)

            return await measured(work, self.total)

    async def filled(self, compression: Compression) -> str:
        topic = await self.topic()
        async with self.bus(compression) as bus, bus.writer(topic) as writer:
            for batch in self.batches():
                await submit(writer, Transaction({topic: batch}))
            await writer.commit(Transaction())
        return topic

    async def round_trips(self, count: int) -> tuple[list[float], list[float]]:
        """Return the round trips of the bus and of the bare loop in milliseconds, measured alternately."""
        topic, bare_topic = await self.topic(), await self.topic()
        ours, bare = [], []
        async with (
            self.bus() as bus,
            bus.writer(topic) as writer,
            bus.reader(topic, {0: 0}) as reader,
            bare_producer(self.servers) as producer,
            self.bare_consumer(bare_topic) as consumer,
        ):
            for record in self.records[:count]:
                began = time.perf_counter()
                reading = asyncio.ensure_future(reader.read())
                await writer.commit(Transaction({topic: [record]}))
                await reading
                ours.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(0.01)
                began = time.perf_counter()
                getting = asyncio.ensure_future(consumer.getone())
                await producer.begin_transaction()
                await producer.send(bare_topic, record.value, record.key, partition=0, headers=list(record.headers))
                await producer.commit_transaction()
                await getting
                bare.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(0.01)
        return ours[10:], bare[10:]


async def submit(writer: Writer, transaction: Transaction) -> None:
    _ = await writer.submit(transaction)


async def send_bare(producer: AIOKafkaProducer, topic: str, records: list[Outgoing]) -> None:
    """Write as cheaply as aiokafka's producer can: whole batches, all sent before one is awaited."""
    sent = []
    batch = producer.create_batch()
    for record in records:
        if batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers) is None:
            sent.append(await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
    sent.append(await producer.send_batch(batch, topic, partition=0))
    await asyncio.gather(*sent)


def line(name: str, cost: Cost, bare: Cost) -> str:
    return f"{name:<34}{cost.cpu:>8.2f} µs{cost.rate:>12,.0f}/s{cost.cpu / bare.cpu:>9.2f} x"


async def run(servers: str, records: int, rounds: int, trips: int) -> None:
    bench = Bench(servers, events(records), rounds)
    size = statistics.mean(len(record.value or b"") for record in bench.records)
    print(f"{bench.total:,} records of {size:.0f} bytes, {PER_TRANSACTION} a transaction, exactly once")
    print(f"{'':<34}{'CPU a record':>11}{'records':>14}{'of bare':>11}")
    await bench.write_bare()  # warms up the broker, whose code is compiled as it runs
    bare = await bench.write_bare()
    print(line("write, bare aiokafka", bare, bare))
    for compression in COMPRESSIONS:
        print(line(f"write, bus, {compression}", await bench.write(compression), bare))
    bare = await bench.copy_bare()
    print(line("copy, bare aiokafka", bare, bare))
    for compression in COMPRESSIONS:
        print(line(f"copy, bus, {compression}", await bench.copy(compression), bare))
    ours, theirs = await bench.round_trips(trips)
    for name, taken in (("round trip, bare aiokafka", theirs), ("round trip, bus", ours)):
        middle, late = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
        print(f"{name:<34} p50 {middle:.2f} ms, p99 {late:.2f} ms, {middle / statistics.median(theirs):.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="of each measurement (100000)")
    parser.add_argument("--trips", type=int, default=300, help="round trips (300)")
    parser.add_argument("--servers", help="a broker that runs already; otherwise one is started")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the services do; the bare loops have it too
    size = min(arguments.records, 20_000)
    rounds = max(1, arguments.records // size)
    if arguments.servers:
        uvloop.run(run(arguments.servers, size, rounds, arguments.trips))
        return
    with kafka_server(quick_start=False) as server:
        uvloop.run(run(server.bootstrap, size, rounds, arguments.trips))


if __name__ == "__main__":
    main()
