"""The bare loops that the system layer is compared with: a client library, and aiokafka as cheaply as it can be had.

They write the same records exactly once: whole batches in aiokafka's transactions, with two alternating producers, each
transaction with a record that stands for the checkpoint. They check nothing.
"""

import asyncio
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from aiokafka import AIOKafkaProducer

from benchmarks.measuring import Cost, measured
from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.events.headers import CONTENT_TYPE, PROVENANCE

PER_TRANSACTION = 1000
BARE_BATCH = 512 * 1024
IN_FLIGHT = 2
"""Transactions at once, and as many producers."""
HEAD = b'{"specversion":"1.0","source":"/sources/orders","type":"order.updated","channel":"orders.eu","id":"orders:'

BareRecords = list[tuple[bytes, list[tuple[str, bytes]]]]
"""Values and headers."""


def bare_record(identity: bytes, data: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return an event with this data, of a constant head."""
    return b'%b%b","data":%b}' % (HEAD, identity, data), [CONTENT_TYPE, (PROVENANCE, b"orders 1 orders:" + identity)]


@asynccontextmanager
async def bare_producer(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    """Run one with a transactional id of its own for as long as the context lasts."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=uuid.uuid4().hex, max_batch_size=BARE_BATCH)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


class BareWriter:
    """Writes one transaction after another, two of them at a time."""

    def __init__(self, producers: list[AIOKafkaProducer], topics: TopicsOptions) -> None:
        self._producers = producers
        self._topics = topics
        self._turn = 0
        self._commits: list[asyncio.Task[None]] = []

    async def write(self, records: BareRecords) -> None:
        """Begin the transaction of these records, once there are less than two."""
        if len(self._commits) == IN_FLIGHT:
            await self._commits.pop(0)
        producer = self._producers[self._turn % IN_FLIGHT]
        await producer.begin_transaction()
        sent = await _send(producer, self._topics.publish, records)
        sent.append(await producer.send(self._topics.checkpoints, b"%d" % self._turn, b"orders", partition=0))
        before = self._commits[-1] if self._commits else None
        self._commits.append(asyncio.create_task(_commit(producer, sent, before)))
        self._turn += 1

    async def committed(self) -> None:
        """Wait until all that was written is committed."""
        await asyncio.gather(*self._commits)
        self._commits.clear()


async def bare_cost(work: Callable[[BareWriter], Awaitable[None]], events: int, servers: str) -> Cost:
    """Measure a loop that writes so many events to topics of its own.

    Its producers are opened within the measurement, as those of a source are.
    """
    topics = TopicsOptions(prefix=f"bench-{uuid.uuid4().hex[:8]}", partitions=1)
    async with connect(KafkaOptions(servers=servers), DatabaseOptions()) as bus:
        await bus.ensure_topics(topics.all())
    async with AsyncExitStack() as stack:

        async def run() -> None:
            producers = [await stack.enter_async_context(bare_producer(servers)) for _ in range(IN_FLIGHT)]
            writer = BareWriter(producers, topics)
            await work(writer)
            await writer.committed()

        return await measured(run(), events)


async def publish_bare(batches: Iterable[BareRecords] | AsyncIterable[BareRecords], events: int, servers: str) -> Cost:
    """Measure the reading of batches, and the writing of each in a transaction."""

    async def work(writer: BareWriter) -> None:
        if isinstance(batches, AsyncIterable):
            async for batch in batches:
                await writer.write(batch)
        else:
            for batch in batches:
                await writer.write(batch)

    return await bare_cost(work, events, servers)


async def _commit(
    producer: AIOKafkaProducer, sent: list[asyncio.Future[object]], before: asyncio.Task[None] | None
) -> None:
    await asyncio.gather(*sent)
    if before is not None:
        await before
    await producer.commit_transaction()


async def _send(producer: AIOKafkaProducer, topic: str, records: BareRecords) -> list[asyncio.Future[object]]:
    sent = []
    batch = producer.create_batch()
    for value, headers in records:
        if batch.append(key=b"orders.eu", value=value, timestamp=None, headers=headers) is None:
            sent.append(await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            batch.append(key=b"orders.eu", value=value, timestamp=None, headers=headers)
    sent.append(await producer.send_batch(batch, topic, partition=0))
    return sent
