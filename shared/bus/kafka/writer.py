"""The writer: two transactional ids take turns, so that one transaction fills while the one before it commits.

A transaction that follows another of the same id has to wait until that one's markers are written; with two ids there
is always one whose markers are done. Records of a transaction are written after all records of the one before it, and
it is committed after that one is: so order is kept within each partition, and none is visible after one that failed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import cycle

from shared.bus.kafka.batches import Batch, Encoder, by_partition
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.transactional import TransactionalId
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

    def __init__(self, name: str, cluster: Cluster, owned: list[tuple[TransactionalId, Encoder]], tasks: Tasks) -> None:
        self._cluster = cluster
        self._owned = [owner for owner, _ in owned]
        self._turns = cycle(self._owned)
        self._encoders = dict(owned)
        self._queue = TransactionQueue(f"writer {name}", tasks)

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Encode a transaction and add it to the queue."""
        return await self._queue.submit(partial(self._prepare, transaction))

    async def commit(self, transaction: Transaction) -> None:
        """Submit a transaction and wait for its commit."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset a group is to read next."""
        deadline = self._cluster.clock.monotonic() + self._cluster.options.patience
        async with self._queue.exclusive():
            return await self._owned[0].committed(self._cluster.identity(group), position, deadline)

    async def close(self) -> None:
        """Begin no further step, and give the requests in flight a moment to be answered."""
        self._queue.close()
        await self._queue.join(_CLOSE_TIMEOUT)

    async def _prepare(self, transaction: Transaction) -> Work:
        owner = next(self._turns)
        if owner.doubtful:
            # The transaction before last, which used this id, has ended: its slot was needed.
            self._encoders[owner] = await owner.renew()
        batches = await self._encode(self._encoders[owner], transaction)
        return partial(self._carry_out, owner, transaction, batches)

    async def _encode(self, encoder: Encoder, transaction: Transaction) -> list[Batch]:
        now = int(self._cluster.clock.time() * 1000)
        batches: list[Batch] = []
        for name, records in transaction.records.items():
            if records:
                topic = await self._cluster.topic(name)
                for partition, dealt in by_partition(records, len(topic.leaders)).items():
                    batches += encoder.encode(name, partition, dealt, now)
        return batches

    async def _carry_out(
        self, owner: TransactionalId, transaction: Transaction, batches: list[Batch], turn: Turn
    ) -> None:
        await turn.previous_written()
        deadline = self._cluster.clock.monotonic() + self._cluster.options.patience
        await owner.write(transaction, batches, deadline)
        turn.written()
        reach("bus.written")
        await turn.previous_committed()
        if owner.began:
            await owner.end(deadline, commit=True)
        reach("bus.committed")


@asynccontextmanager
async def kafka_writer(cluster: Cluster, name: str) -> AsyncIterator[KafkaWriter]:
    """Own both transactional ids of a name for as long as the context lasts."""
    ids = [TransactionalId(cluster, f"{cluster.identity(name)}-{turn}") for turn in "ab"]
    try:
        # Both before anybody reads a checkpoint: only then is all decided that an older owner had in flight.
        encoders = await together(*(owned.open() for owned in ids))
        async with Tasks() as tasks:
            writer = KafkaWriter(name, cluster, list(zip(ids, encoders, strict=True)), tasks)
            try:
                yield writer
            finally:
                await writer.close()
    finally:
        await together(*(_close(cluster, owned) for owned in ids))


async def _close(cluster: Cluster, owned: TransactionalId) -> None:
    try:
        if owned.began and not owned.abandoned:
            with suppress(TrelayError, TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await owned.end(cluster.clock.monotonic() + _CLOSE_TIMEOUT, commit=False)
    finally:
        await owned.close()
