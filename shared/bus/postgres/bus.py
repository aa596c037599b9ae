"""The `Bus` on PostgreSQL."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping

from shared.bus.partition_workers import GroupTopic, PartitionWorkers
from shared.bus.postgres.appender import postgres_appender
from shared.bus.postgres.housekeeping import Housekeeping
from shared.bus.postgres.link import Link
from shared.bus.postgres.membership import CHANNEL as GROUPS_CHANNEL
from shared.bus.postgres.membership import Groups, Membership
from shared.bus.postgres.news import CHANNEL as NEWS_CHANNEL
from shared.bus.postgres.news import News
from shared.bus.postgres.options import PostgresBusOptions
from shared.bus.postgres.reader import postgres_reader
from shared.bus.postgres.topics import Topics
from shared.bus.postgres.writer import postgres_writer
from shared.bus.protocol import Appender, PartitionWorker, Reader, TopicOptions, TopicPartition, Writer
from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.lease import CHANNEL as LEASES_CHANNEL
from shared.lease import Leases, PostgresLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

# By index even where many keys begin alike: '0' is the character after '/'.
_LATEST = """
SELECT key, value FROM trelay.bus_latest
WHERE partition_id = ANY ($1) AND value IS NOT NULL
  AND (key = $2 OR (key >= $2 || '/'::bytea AND key < $2 || '0'::bytea))
"""
_COMMITTED = "SELECT next_offset FROM trelay.bus_offsets WHERE reader_group = $1 AND partition_id = $2"
_PROBE = "SELECT count(*) FROM trelay.bus_topics"


class PostgresBus:
    """See `shared.bus.protocol.Bus`."""

    def __init__(self, link: Link, news: News, groups: Groups, clock: Clock) -> None:
        self._link = link
        self._news = news
        self._groups = groups
        self._clock = clock
        self._topics = Topics(link)

    @property
    def problem(self) -> str | None:
        """What keeps the bus from working right now; None while it works."""
        return self._link.problem

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Make the topics that are missing; check the others."""
        await self._topics.ensure(topics)

    async def epoch(self, topic: str) -> str:
        """Return what tells this topic from a later one of the same name."""
        return (await self._topics.look_up(topic)).epoch

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the end, by partition."""
        return await self._topics.bounds(topic)

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the newest values of a compacted topic under a name."""
        partitions = (await self._topics.look_up(topic)).partitions
        async with self._link.reading.use() as connection:
            rows = await connection.fetch(_LATEST, partitions, name)
        return {key: value for key, value in rows}  # noqa: C416 -- dict(rows) would take each row for a mapping

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset a group is to read next."""
        topic = await self._topics.find(position.topic)
        async with self._link.reading.use() as connection:
            offset: int | None = await connection.fetchval(_COMMITTED, group, topic.partitions[position.partition])
        return offset

    def writer(self, name: str) -> contextlib.AbstractAsyncContextManager[Writer]:
        """Become the owner of `name`."""
        return postgres_writer(name, self._link, self._topics, self._news)

    def appender(self) -> contextlib.AbstractAsyncContextManager[Appender]:
        """Open a way to append."""
        return postgres_appender(self._link, self._topics, self._news)

    def reader(self, topic: str, positions: Mapping[int, int]) -> contextlib.AbstractAsyncContextManager[Reader]:
        """Read partitions from given offsets on."""
        return postgres_reader(self._topics, topic, positions, self._news, self._link, self._clock)

    @contextlib.asynccontextmanager
    async def join(self, topic: str, group: str, member: str, worker: PartitionWorker) -> AsyncIterator[None]:
        """Be a member of a group for as long as the context lasts."""
        known = await self._topics.find(topic)

        @contextlib.asynccontextmanager
        async def open_reader(number: int) -> AsyncIterator[Reader]:
            start = await self.committed(group, TopicPartition(topic, number))
            if start is None:
                start = (await self.bounds(topic))[number][0]
            async with self.reader(topic, {number: start}) as reader:
                yield reader

        async with Tasks() as drives:
            driving = PartitionWorkers(GroupTopic(group, topic), worker, open_reader, drives, clock=self._clock)
            me = Membership(known, group, member, driving, self._groups)
            async with Tasks() as tasks:
                tasks.keep(f"member {member} of {group}", me.run())
                yield


@contextlib.asynccontextmanager
async def connect_postgres(
    options: PostgresBusOptions, database: DatabaseOptions, *, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[PostgresBus]:
    """Connect for as long as the context lasts.

    Raises:
        Unavailable: the database does not answer, or has not been migrated.
    """
    identity = secrets.token_hex(8)
    async with Link.opened(database, options) as link:
        async with link.steering.use() as connection:
            await connection.fetchval(_PROBE)
        news = News(identity, clock)
        store = PostgresLeaseStore(link.leasing)
        groups = Groups(link, store, clock)
        channels = {NEWS_CHANNEL: news.hear, GROUPS_CHANNEL: groups.hear, LEASES_CHANNEL: store.hear}
        housekeeping = Housekeeping(link, Leases(store, identity, clock=clock), options.sweep_seconds, clock)
        async with Listener.opened(database, channels, link.tell, clock) as listener, Tasks() as tasks:
            tasks.keep("telling readers elsewhere", news.keep_saying(listener.say))
            tasks.keep("housekeeping of the bus", housekeeping.run())
            yield PostgresBus(link, news, groups, clock)
