"""The appender: everybody's single records, many calls to a transaction."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from shared.bus.postgres.link import Link, TopicGone
from shared.bus.postgres.news import News
from shared.bus.postgres.plan import Plan, plan
from shared.bus.postgres.topics import Topics
from shared.bus.postgres.writing import Owner, Writing
from shared.bus.protocol import RECORD_LIMIT, Outgoing, size_of
from shared.errors import TooLarge, TrelayError, Unavailable
from shared.tasks import Tasks

_NOBODY = Owner()
_ROUND_BYTES = 4 * 1024 * 1024
"""What calls in one round amount to, unless the first alone is larger."""
_WAITING_LIMIT = 16 * 1024 * 1024
"""Bytes that may wait for a round; further calls wait to be accepted."""


@dataclass(eq=False, slots=True)
class _Call:
    """What one caller wants to have appended."""

    topic: str
    records: Sequence[Outgoing]
    size: int
    done: asyncio.Future[None]

    def end(self, error: TrelayError | None = None) -> None:
        """Tell the caller, if he still waits."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
            self.done.exception()  # counts as looked at: the caller may be gone


class PostgresAppender:
    """An `Appender`. While one round of calls is on its way, the next one gathers."""

    def __init__(self, link: Link, topics: Topics, news: News) -> None:
        self._link = link
        self._topics = topics
        self._news = news
        self._waiting: asyncio.Queue[_Call] = asyncio.Queue()
        self._held_back: _Call | None = None
        self._bytes = 0
        self._room = asyncio.Condition()
        self._callers = 0
        self._no_callers = asyncio.Event()
        self._no_callers.set()
        self._closed = False

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append with the next round."""
        size = 0
        for record in records:
            size += (one := size_of(record))
            if one > RECORD_LIMIT:
                raise TooLarge(f"{topic}: a record of {one} bytes, the limit is {RECORD_LIMIT}")
        # Planned alone first, so that what is wrong with one call is nobody else's trouble.
        with self._accepted():
            known = await self._topics.find(topic)
            if known.compact:
                plan({topic: records}, {topic: known})
            async with self._room:
                await self._room.wait_for(lambda: self._bytes < _WAITING_LIMIT or self._closed)
            if self._closed:
                raise Unavailable("the appender was closed")
            call = _Call(topic, records, size, asyncio.get_running_loop().create_future())
            self._bytes += size
            self._waiting.put_nowait(call)
            await call.done

    async def run(self) -> None:
        """Carry out round after round, for ever."""
        while True:
            calls = await self._gather()
            try:
                await self._round(calls)
            finally:
                for call in calls:
                    call.end(Unavailable("the appender was closed"))
                    self._waiting.task_done()
                self._bytes -= sum(call.size for call in calls)
            async with self._room:
                self._room.notify_all()

    async def drain(self) -> None:
        """Return once all that was accepted is done with."""
        await self._no_callers.wait()
        await self._waiting.join()

    async def close(self) -> None:
        """End what still waits."""
        self._closed = True
        while not self._waiting.empty():
            self._waiting.get_nowait().end(Unavailable("the appender was closed"))
        async with self._room:
            self._room.notify_all()

    @contextmanager
    def _accepted(self) -> Iterator[None]:
        self._callers += 1
        self._no_callers.clear()
        try:
            yield
        finally:
            self._callers -= 1
            if not self._callers:
                self._no_callers.set()

    async def _gather(self) -> list[_Call]:
        first, self._held_back = self._held_back or await self._waiting.get(), None
        calls, size = [first], first.size
        while not self._waiting.empty():
            call = self._waiting.get_nowait()
            if size + call.size > _ROUND_BYTES:
                self._held_back = call
                break
            calls.append(call)
            size += call.size
        return calls

    async def _round(self, calls: list[_Call]) -> None:
        try:
            planned = await self._plan(calls)
            async with Writing.prepared(self._link, planned, _NOBODY) as writing:
                await writing.publish()
        except TrelayError as exc:
            if isinstance(exc, TopicGone):
                self._topics.forget({call.topic for call in calls})
            for call in calls:
                call.end(exc)
            return
        self._news.committed(planned.touched)
        for call in calls:
            call.end()

    async def _plan(self, calls: list[_Call]) -> Plan:
        records: dict[str, list[Outgoing]] = {}
        for call in calls:
            records.setdefault(call.topic, []).extend(call.records)
        return plan(records, {name: await self._topics.find(name) for name in records})


@asynccontextmanager
async def postgres_appender(link: Link, topics: Topics, news: News) -> AsyncIterator[PostgresAppender]:
    """Append for as long as the context lasts."""
    appender = PostgresAppender(link, topics, news)
    async with Tasks() as tasks:
        tasks.keep("appending to PostgreSQL", appender.run())
        try:
            yield appender
            await appender.drain()
        finally:
            await tasks.cancel_all()
            await appender.close()
