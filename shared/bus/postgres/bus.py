"""The `Bus` on PostgreSQL."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping

from shared.bus.partition_workers import GroupTopic, PartitionWorkers
from shared.bus.postgres.appender import postgres_appender
from shared.bus.postgres.membership import CHANNEL as GROUPS_CHANNEL
from shared.bus.postgres.membership import Groups, Membership
from shared.bus.postgres.notifier import CHANNEL as COMMITS_CHANNEL
from shared.bus.postgres.notifier import CommitNotifier
from shared.bus.postgres.options import PostgresBusOptions
from shared.bus.postgres.pools import Pools
from shared.bus.postgres.reader import postgres_reader
from shared.bus.postgres.retention import RetentionCleaner
from shared.bus.postgres.topics import Topics
from shared.bus.postgres.writer import postgres_writer
from shared.bus.protocol import Appender, PartitionWorker, Reader, TakeRecords, TopicOptions, TopicPartition, Writer
from shared.bus.replaying import replay_to_end
from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.lease import CHANNEL as LEASES_CHANNEL
from shared.lease import Leases, PostgresLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

# By index even if many keys begin alike: '0' is the character after '/'.
_LATEST = """
SELECT key, value FROM trelay.bus_latest
WHERE partition_id = ANY ($1) AND value IS NOT NULL
  AND (key = $2 OR (key >= $2 || '/'::bytea AND key < $2 || '0'::bytea))
"""
_COMMITTED = "SELECT next_offset FROM trelay.bus_offsets WHERE reader_group = $1 AND partition_id = $2"
_PROBE = "SELECT count(*) FROM trelay.bus_topics"


class PostgresBus:
    """A `Bus`."""

    def __init__(self, pools: Pools, notifier: CommitNotifier, groups: Groups, clock: Clock) -> None:
        self._pools = pools
        self._notifier = notifier
        self._groups = groups
        self._clock = clock
        self._topics = Topics(pools)

    @property
    def problem(self) -> str | None:
        """Why the bus does not work now; None while it works."""
        return self._pools.problem

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Create the topics that are missing; check the others."""
        await self._topics.ensure(topics)

    async def epoch(self, topic: str) -> str:
        """Return the id of a topic."""
        return (await self._topics.refresh(topic)).epoch

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the end, by partition."""
        return await self._topics.bounds(topic)

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Return the end of each partition: a commit is visible at once."""
        return {number: end for number, (_, end) in (await self.bounds(topic)).items()}

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """Return the first offset at a time, by partition."""
        return await self._topics.offsets_at(topic, timestamp_ms)

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the latest values of a name."""
        partitions = (await self._topics.refresh(topic)).partitions
        async with self._pools.reading.use() as connection:
            rows = await connection.fetch(_LATEST, partitions, name)
        return {key: value for key, value in rows}  # noqa: C416 -- dict(rows) would take each row for a mapping

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
        """Read the records of one partition up to its end."""
        return await replay_to_end(self, position, offset, each)

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that a group reads next."""
        topic = await self._topics.get(position.topic)
        async with self._pools.reading.use() as connection:
            offset: int | None = await connection.fetchval(_COMMITTED, group, topic.partitions[position.partition])
        return offset

    def writer(self, name: str) -> contextlib.AbstractAsyncContextManager[Writer]:
        """Become the owner of `name`."""
        return postgres_writer(name, self._pools, self._topics, self._notifier)

    def appender(self) -> contextlib.AbstractAsyncContextManager[Appender]:
        """Open an appender."""
        return postgres_appender(self._pools, self._topics, self._notifier)

    def reader(self, topic: str, positions: Mapping[int, int]) -> contextlib.AbstractAsyncContextManager[Reader]:
        """Read partitions, each from its offset on."""
        return postgres_reader(self._topics, topic, positions, self._notifier, self._pools, self._clock)

    @contextlib.asynccontextmanager
    async def join(self, topic: str, group: str, member: str, worker: PartitionWorker) -> AsyncIterator[None]:
        """Be a member of a group for as long as the context lasts."""
        found = await self._topics.get(topic)

        @contextlib.asynccontextmanager
        async def open_reader(number: int) -> AsyncIterator[Reader]:
            start = await self.committed(group, TopicPartition(topic, number))
            if start is None:
                start = (await self.bounds(topic))[number][0]
            async with self.reader(topic, {number: start}) as reader:
                yield reader

        async with Tasks() as worker_tasks:
            reads = GroupTopic(group, topic)
            workers = PartitionWorkers(reads, worker, open_reader, worker_tasks, clock=self._clock)
            membership = Membership(found, group, member, workers, self._groups)
            async with Tasks() as tasks:
                tasks.keep(f"member {member} of {group}", membership.run())
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
    async with Pools.opened(database, options) as pools:
        async with pools.control.use() as connection:
            await connection.fetchval(_PROBE)
        notifier = CommitNotifier(identity, clock)
        store = PostgresLeaseStore(pools.leases)
        groups = Groups(pools, store, clock)
        channels = {
            COMMITS_CHANNEL: notifier.on_notification,
            GROUPS_CHANNEL: groups.on_notification,
            LEASES_CHANNEL: store.on_notification,
        }
        retention = RetentionCleaner(
            pools, Leases(store, identity, clock=clock), options.retention_check_interval, clock
        )
        async with Listener.opened(database, channels, pools.report, clock) as listener, Tasks() as tasks:
            tasks.keep("notify readers", notifier.run(listener.notify))
            tasks.keep("retention of the bus", retention.run())
            yield PostgresBus(pools, notifier, groups, clock)
