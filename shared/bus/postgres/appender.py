"""The appender: everybody's single records, many calls to a transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shared.bus.group_commit import Call, GroupCommit
from shared.bus.postgres.link import Link, TopicGone
from shared.bus.postgres.news import News
from shared.bus.postgres.plan import Plan, plan
from shared.bus.postgres.topics import Topics
from shared.bus.postgres.writing import Owner, Writing
from shared.bus.protocol import Outgoing, check_size
from shared.errors import TrelayError
from shared.runtime.tasks import Tasks

_NOBODY = Owner()


class PostgresAppender:
    """An `Appender`. While one round of calls is on its way, the next one gathers."""

    def __init__(self, link: Link, topics: Topics, news: News) -> None:
        self._link = link
        self._topics = topics
        self._news = news
        self.rounds = GroupCommit(self._round)

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append with the next round."""
        size = sum(check_size(topic, record) for record in records)
        with self.rounds.caller():
            known = await self._topics.find(topic)
            if known.compact:
                # Planned alone first, so that what is wrong with one call is nobody else's problem.
                plan({topic: records}, {topic: known})
            if records:
                await self.rounds.join(topic, records, size)

    async def _round(self, calls: list[Call]) -> None:
        try:
            planned = await self._plan(calls)
            async with Writing.prepared(self._link, planned, _NOBODY) as writing:
                await writing.publish()
        except TrelayError as exc:
            if isinstance(exc, TopicGone):
                self._topics.forget({call.topic for call in calls})
            for call in calls:
                call.finish(exc)
            return
        self._news.committed(planned.touched)
        for call in calls:
            call.finish()

    async def _plan(self, calls: list[Call]) -> Plan:
        records: dict[str, list[Outgoing]] = {}
        for call in calls:
            records.setdefault(call.topic, []).extend(call.records)
        return plan(records, {name: await self._topics.find(name) for name in records})


@asynccontextmanager
async def postgres_appender(link: Link, topics: Topics, news: News) -> AsyncIterator[PostgresAppender]:
    """Append for as long as the context lasts."""
    appender = PostgresAppender(link, topics, news)
    async with Tasks() as tasks:
        tasks.keep("appending to PostgreSQL", appender.rounds.run())
        try:
            yield appender
            await appender.rounds.drain()
        finally:
            await tasks.cancel_all()
            await appender.rounds.close()
