"""The writer: transactions alternate between two transactional ids, so one is written while the other commits.

A transaction must wait until the markers of the one before with the same id are written; with two ids, one of them is
always free. The records of a transaction are written after all records of the one before it, and it commits after that
one. So each partition keeps its order, and no transaction is visible after one that failed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import cycle

from shared.bus.kafka.batches import Encoder, RecordBatch, by_partition
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.transactional_producer import TransactionalProducer
from shared.bus.protocol import TopicPartition, Transaction
from shared.bus.transaction_queue import TransactionQueue, Turn, Work
from shared.errors import TrelayError
from shared.runtime.failpoints import reach
from shared.runtime.tasks import Tasks, together

_CLOSE_TIMEOUT = 1.0
"""Seconds that requests in flight may take to be answered when the writer is closed, and that aborting what they began
may take. Without the abort, readers of its partitions would wait for the transaction timeout."""


class KafkaWriter:
    """A `Writer`."""

    def __init__(
        self, name: str, cluster: Cluster, producers: list[tuple[TransactionalProducer, Encoder]], tasks: Tasks
    ) -> None:
        self._cluster = cluster
        self._encoders = dict(producers)
        self._first, *_ = self._encoders
        self._alternating = cycle(self._encoders)
        self._queue = TransactionQueue(f"writer {name}", tasks)

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Encode a transaction and add it to the queue."""
        return await self._queue.submit(partial(self._prepare, transaction))

    async def commit(self, transaction: Transaction) -> None:
        """Submit a transaction and wait for its commit."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that a group reads next."""
        deadline = self._cluster.clock.monotonic() + self._cluster.options.delivery_timeout
        async with self._queue.exclusive():
            return await self._first.committed(self._cluster.prefixed(group), position, deadline)

    async def close(self) -> None:
        """Begin no further step, and give the requests in flight a moment to be answered."""
        self._queue.close()
        await self._queue.join(_CLOSE_TIMEOUT)

    async def _prepare(self, transaction: Transaction) -> Work:
        producer = next(self._alternating)
        if producer.must_bump_epoch:
            # The transaction before last, which used this id, has ended: its slot was needed.
            self._encoders[producer] = await producer.bump_epoch()
        batches = await self._encode(self._encoders[producer], transaction)
        return partial(self._carry_out, producer, transaction, batches)

    async def _encode(self, encoder: Encoder, transaction: Transaction) -> list[RecordBatch]:
        now = int(self._cluster.clock.time() * 1000)
        batches: list[RecordBatch] = []
        for name, records in transaction.records.items():
            if records:
                topic = await self._cluster.topic(name)
                for partition, group in by_partition(records, len(topic.leaders)).items():
                    batches += encoder.encode(name, partition, group, now)
        for place, records in transaction.placed.items():
            batches += encoder.encode(*place, records, now)
        return batches

    async def _carry_out(
        self, producer: TransactionalProducer, transaction: Transaction, batches: list[RecordBatch], turn: Turn
    ) -> None:
        await turn.previous_written()
        deadline = self._cluster.clock.monotonic() + self._cluster.options.delivery_timeout
        await producer.write(transaction, batches, deadline)
        turn.written()
        reach("bus.written")
        await turn.previous_committed()
        if producer.in_transaction:
            await producer.end(deadline, commit=True)
        reach("bus.committed")


@asynccontextmanager
async def kafka_writer(cluster: Cluster, name: str) -> AsyncIterator[KafkaWriter]:
    """Own both transactional ids of a name for as long as the context lasts."""
    producers = [TransactionalProducer(cluster, f"{cluster.prefixed(name)}-{suffix}") for suffix in "ab"]
    try:
        # Both before anything reads a checkpoint: only then is all committed or aborted that an older owner had in
        # flight.
        encoders = await together(*(producer.open() for producer in producers))
        async with Tasks() as tasks:
            writer = KafkaWriter(name, cluster, list(zip(producers, encoders, strict=True)), tasks)
            try:
                yield writer
            finally:
                await writer.close()
    finally:
        await together(*(_close(cluster, producer) for producer in producers))


async def _close(cluster: Cluster, producer: TransactionalProducer) -> None:
    try:
        if producer.in_transaction and not producer.interrupted:
            with suppress(TrelayError, TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await producer.end(cluster.clock.monotonic() + _CLOSE_TIMEOUT, commit=False)
    finally:
        await producer.close()
