"""The writer: transactions are stored side by side and published one after the other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager

from shared.bus.postgres.link import Link, TopicGone
from shared.bus.postgres.news import News
from shared.bus.postgres.plan import Plan, plan
from shared.bus.postgres.topics import Topics
from shared.bus.postgres.writing import Owner, Writing
from shared.bus.protocol import IN_FLIGHT, TopicPartition, Transaction
from shared.errors import Fenced, TrelayError, Unavailable
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


class _Outcome:
    """What becomes of one transaction."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._error: TrelayError | None = None
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """What the submitter was given; nothing else depends on it, for he may cancel it."""

    def end(self, error: TrelayError | None = None) -> None:
        """It is visible; or it is not, and nothing after it may be."""
        self._error = error
        self._ended.set()
        if self.told.done():
            return
        if error is None:
            self.told.set_result(None)
        else:
            self.told.set_exception(error)
            self.told.exception()  # counts as looked at: nobody has to await it

    async def seen(self) -> None:
        """Wait until it is visible.

        Raises:
            Fenced, Unavailable: it never will be, so that what waits must not be either.
        """
        await self._ended.wait()
        if self._error is not None:
            raise _consequence(self._error) from self._error


class PostgresWriter:
    """A `Writer`."""

    def __init__(self, owner: Owner, link: Link, topics: Topics, news: News, tasks: Tasks) -> None:
        self._owner = owner
        self._link = link
        self._topics = topics
        self._news = news
        self._tasks = tasks
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._turn = asyncio.Lock()
        """Tasks that share a writer submit one after the other, in the order they came."""
        self._finished: TrelayError | None = None
        self._last = _Outcome()
        self._last.end()

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Plan a transaction and send it on its way."""
        async with self._turn:
            await self._slots.acquire()
            try:
                self._check_usable()
                planned = await self._plan(transaction)
            except BaseException as exc:
                self._slots.release()
                if isinstance(exc, TrelayError):
                    self._finish(exc)
                raise
            before, mine = self._last, _Outcome()
            self._last = mine
            work = self._carry_out(planned, tuple(transaction.records), before, mine)
            _ = self._tasks.start(f"transaction of {self._owner.called}", work)
            return mine.told

    async def commit(self, transaction: Transaction) -> None:
        """Submit, and wait."""
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
        """Begin nothing more."""
        self._finish(Unavailable(f"{self._owner.called} was closed"))

    async def _plan(self, transaction: Transaction) -> Plan:
        topics = {name: await self._topics.find(name) for name in transaction.records}
        settled = []
        for (name, number), offset in transaction.offsets.items():
            settled.append(((await self._topics.find(name)).partitions[number], offset))
        return plan(transaction.records, topics, transaction.group, settled)

    async def _carry_out(self, planned: Plan, topics: Iterable[str], before: _Outcome, mine: _Outcome) -> None:
        try:
            # A connection is taken before the turn is waited for. The other way round, transactions that wait for
            # their turn could hold all connections, and the one whose turn it is would wait for one of those.
            if planned.empty:
                await before.seen()
            else:
                async with Writing.prepared(self._link, planned, self._owner) as writing:
                    await before.seen()
                    await writing.publish()
                self._news.committed(planned.touched)
        except TrelayError as exc:
            if isinstance(exc, TopicGone):
                self._topics.forget(topics)
            self._finish(exc)
            mine.end(exc)
        except BaseException:
            error = Unavailable(f"{self._owner.called}: stopped in the middle of a transaction")
            self._finish(error)
            mine.end(error)
            raise
        else:
            mine.end()
        finally:
            self._slots.release()

    def _check_usable(self) -> None:
        if self._finished is not None:
            raise _consequence(self._finished) from self._finished

    def _finish(self, error: TrelayError) -> None:
        if self._finished is None:
            self._finished = error


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


def _consequence(error: TrelayError) -> TrelayError:
    """Return what a transaction fails with because of one before it: what was wrong with that is not wrong with it."""
    if isinstance(error, Fenced):
        return Fenced(str(error))
    return Unavailable(f"a transaction before this one failed: {error}")
