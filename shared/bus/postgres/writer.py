"""The writer: transactions are stored side by side and published one after the other."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial

from shared.bus.postgres.link import Link, TopicGone
from shared.bus.postgres.news import News
from shared.bus.postgres.plan import Plan, plan
from shared.bus.postgres.topics import Topics
from shared.bus.postgres.writing import Owner, Writing
from shared.bus.protocol import TopicPartition, Transaction
from shared.bus.transaction_queue import TransactionQueue, Turn, Work
from shared.errors import Fenced
from shared.runtime.tasks import Tasks

# Waits for a commit of an older owner that is under way, and makes every later one fail.
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

    def __init__(self, owner: Owner, link: Link, topics: Topics, news: News, tasks: Tasks) -> None:
        self._owner = owner
        self._link = link
        self._topics = topics
        self._news = news
        self._queue = TransactionQueue(owner.called, tasks)

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Plan a transaction and add it to the queue."""
        return await self._queue.submit(partial(self._prepare, transaction))

    async def commit(self, transaction: Transaction) -> None:
        """Submit a transaction and wait for its commit."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset a group is to read next."""
        topic = await self._topics.find(position.topic)
        async with self._link.reading.use() as connection:
            found = await connection.fetchrow(_COMMITTED, self._owner.name, group, topic.partitions[position.partition])
        if found is None or found[0] != self._owner.epoch:
            raise Fenced(f"{self._owner.called}: a newer one has taken over")
        offset: int | None = found[1]
        return offset

    def close(self) -> None:
        """Begin no further transaction."""
        self._queue.close()

    async def _prepare(self, transaction: Transaction) -> Work:
        topics = {name: await self._topics.find(name) for name in transaction.records}
        settled = []
        for (name, number), offset in transaction.offsets.items():
            settled.append(((await self._topics.find(name)).partitions[number], offset))
        planned = plan(transaction.records, topics, transaction.group, settled)
        return partial(self._carry_out, planned, tuple(topics))

    async def _carry_out(self, planned: Plan, topics: tuple[str, ...], turn: Turn) -> None:
        # A connection is taken before the turn is waited for. The other way round, transactions that wait for their
        # turn could hold all connections, and the one whose turn it is would wait for one of those.
        if planned.empty:
            await turn.previous_committed()
            return
        try:
            async with Writing.prepared(self._link, planned, self._owner) as writing:
                await turn.previous_committed()
                await writing.publish()
        except TopicGone:
            self._topics.forget(topics)
            raise
        self._news.committed(planned.touched)


@asynccontextmanager
async def postgres_writer(name: str, link: Link, topics: Topics, news: News) -> AsyncIterator[PostgresWriter]:
    """Own a name for as long as the context lasts."""
    async with link.writing.use() as connection:
        epoch = await connection.fetchval(_OPEN, name)
    async with Tasks() as tasks:
        writer = PostgresWriter(Owner(name, epoch), link, topics, news, tasks)
        try:
            yield writer
        finally:
            writer.close()
