"""The writer: transactions store their records at the same time, and commit one after the other."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial

from shared.bus.postgres.notifier import CommitNotifier
from shared.bus.postgres.open_transaction import OpenTransaction, Owner
from shared.bus.postgres.plan import Plan, plan
from shared.bus.postgres.pools import Pools, TopicDeleted
from shared.bus.postgres.topics import Topics
from shared.bus.protocol import TopicPartition, Transaction
from shared.bus.transaction_queue import TransactionQueue, Turn, Work
from shared.errors import Fenced
from shared.runtime.tasks import Tasks

# Waits for a commit of an older owner that is in flight, and makes every later one fail.
_OPEN = """
INSERT INTO trelay.bus_writers AS writer (name, epoch) VALUES ($1, 1)
ON CONFLICT (name) DO UPDATE SET epoch = writer.epoch + 1
RETURNING epoch
"""
_COMMITTED = """
SELECT writer.epoch,
    (SELECT next_offset FROM trelay.bus_offsets WHERE reader_group = $2 AND partition_id = $3)
FROM trelay.bus_writers AS writer WHERE writer.name = $1
"""


class PostgresWriter:
    """A `Writer`."""

    def __init__(self, owner: Owner, pools: Pools, topics: Topics, notifier: CommitNotifier, tasks: Tasks) -> None:
        self._owner = owner
        self._pools = pools
        self._topics = topics
        self._notifier = notifier
        self._queue = TransactionQueue(owner.label, tasks)

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Plan a transaction and add it to the queue."""
        return await self._queue.submit(partial(self._prepare, transaction))

    async def commit(self, transaction: Transaction) -> None:
        """Submit a transaction and wait for its commit."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that a group reads next."""
        topic = await self._topics.get(position.topic)
        async with self._pools.reading.use() as connection:
            found = await connection.fetchrow(_COMMITTED, self._owner.name, group, topic.partitions[position.partition])
        if found is None or found[0] != self._owner.epoch:
            raise Fenced(f"{self._owner.label}: fenced by a newer writer of this name")
        offset: int | None = found[1]
        return offset

    def close(self) -> None:
        """Begin no further transaction."""
        self._queue.close()

    async def _prepare(self, transaction: Transaction) -> Work:
        names = {*transaction.records, *(place.topic for place in transaction.placed)}
        topics = {name: await self._topics.get(name) for name in names}
        offsets = []
        for (name, number), offset in transaction.offsets.items():
            offsets.append(((await self._topics.get(name)).partitions[number], offset))
        planned = plan(transaction.records, topics, transaction.group, offsets, transaction.placed)
        return partial(self._carry_out, planned, tuple(topics))

    async def _carry_out(self, planned: Plan, topics: tuple[str, ...], turn: Turn) -> None:
        # Take a connection before waiting for the transaction before. In the other order, transactions that wait could
        # hold all connections, and the one that may commit would wait for one of those.
        if planned.empty:
            await turn.previous_committed()
            return
        try:
            async with OpenTransaction.prepared(self._pools, planned, self._owner) as transaction:
                await turn.previous_committed()
                await transaction.commit()
        except TopicDeleted:
            self._topics.invalidate(topics)
            raise
        self._notifier.committed(planned.changed_partitions)


@asynccontextmanager
async def postgres_writer(
    name: str, pools: Pools, topics: Topics, notifier: CommitNotifier
) -> AsyncIterator[PostgresWriter]:
    """Own a name for as long as the context lasts."""
    async with pools.writing.use() as connection:
        epoch = await connection.fetchval(_OPEN, name)
    async with Tasks() as tasks:
        writer = PostgresWriter(Owner(name, epoch), pools, topics, notifier, tasks)
        try:
            yield writer
        finally:
            writer.close()
