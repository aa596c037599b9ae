"""The `Bus` on Kafka."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from shared.bus.kafka.appender import MARKER_KEY, append_to_each, kafka_appender
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.errors import NONE, error_for_code
from shared.bus.kafka.client.logs import lower_aiokafka_logs
from shared.bus.kafka.client.tls import BrokerTls
from shared.bus.kafka.membership import Membership
from shared.bus.kafka.options import KafkaOptions
from shared.bus.kafka.reader import kafka_reader
from shared.bus.kafka.topics import bounds, ensure_topics, offsets_at
from shared.bus.kafka.wire.offsets import offset_fetch
from shared.bus.kafka.writer import kafka_writer
from shared.bus.partition_workers import GroupTopic, PartitionWorkers
from shared.bus.protocol import (
    Appender,
    Outgoing,
    PartitionWorker,
    Reader,
    Record,
    TakeRecords,
    TopicOptions,
    TopicPartition,
    Writer,
)
from shared.errors import TrelayError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

_METADATA_INTERVAL = 2.0
"""Seconds between requests for the metadata of the topics in use."""
_NO_OFFSET = -1


class KafkaBus:
    """A `Bus`. The names of writers and groups have the prefix of the topics in the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def problem(self) -> str | None:
        """Why the bus does not work now; None while it works."""
        return next(iter(self._cluster.problems.values()), None)

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Create the topics that are missing; check the others."""
        await ensure_topics(self._cluster, topics)

    async def epoch(self, topic: str) -> str:
        """Return the topic id (KIP-516), which no other topic has."""
        known = (await self._cluster.refresh([topic])).get(topic)
        if known is None:
            raise Unavailable(f"topic {topic} does not exist")
        return known.epoch

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the last stable offset, by partition."""
        return await bounds(self._cluster, topic)

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Return the high watermark of each partition.

        A commit is acknowledged before its markers are written, so the last stable offset may be below its records.
        """
        # A leader that was replaced would return an old end: know the newest epochs, by which it refuses (KIP-320).
        await self._cluster.refresh([topic])
        return {number: end for number, (_, end) in (await bounds(self._cluster, topic, end="uncommitted")).items()}

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """Return the first offset at a time, by partition."""
        # The ends first: what is written between the two requests is later than they are.
        ends = await bounds(self._cluster, topic)
        found = await offsets_at(self._cluster, topic, timestamp_ms)
        return {number: ends[number][1] if offset is None else offset for number, offset in found.items()}

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the latest values of a name."""
        latest: dict[bytes, bytes | None] = {}
        below = name + b"/"

        def keep(records: Sequence[Record]) -> None:
            for record in records:
                if record.key is not None and (record.key == name or record.key.startswith(below)):
                    latest[record.key] = record.value

        earliest = {number: offset for number, (offset, _) in (await bounds(self._cluster, topic)).items()}
        await self._read_to_end(topic, earliest, keep)
        return {key: value for key, value in latest.items() if value is not None}

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
        """Read the records of one partition up to its end."""
        topic, number = position
        start = (await bounds(self._cluster, topic))[number][0] if offset is None else offset

        def without_markers(records: Sequence[Record]) -> None:
            if found := [record for record in records if record.key != MARKER_KEY]:
                each(found)

        return (await self._read_to_end(topic, {number: start}, without_markers))[number]

    async def _read_to_end(self, topic: str, positions: Mapping[int, int], each: TakeRecords) -> Mapping[int, int]:
        """Read partitions up to a marker record, and return the positions behind it.

        Not up to the end offset: a leader that was paused, and does not know its successor yet, would return an old
        end. A record that was just acknowledged is in the log of the current leader, after all that was committed
        before.
        """
        marker = secrets.token_bytes(16)
        await append_to_each(self._cluster, topic, Outgoing(MARKER_KEY, marker), positions)
        clock, missing = self._cluster.clock, set(positions)
        async with self.reader(topic, positions) as reader:
            deadline = clock.monotonic() + self._cluster.transaction_timeout
            while missing:
                if clock.monotonic() > deadline:
                    raise Unavailable(f"{topic}: an open transaction hides the end of the topic")
                if records := await reader.read(wait=0.05):
                    deadline = clock.monotonic() + self._cluster.transaction_timeout
                    missing -= {record.partition for record in records if record.value == marker}
                    each(records)
            return dict(reader.positions)

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that a group reads next."""
        group_id = self._cluster.prefixed(group)
        doing = f"read the committed offset of group {group}"
        request = offset_fetch(group_id, *position)

        async def attempt() -> int:
            coordinator = await self._cluster.coordinator("group", group_id)
            response = await self._cluster.send(coordinator, request)
            if response.error_code != NONE:
                raise error_for_code(response.error_code, doing)
            [[_, [[_, offset, _, _, code, _]], _]] = response.topics
            if code != NONE:
                raise error_for_code(code, doing)
            return int(offset)

        offset = await self._cluster.retry(doing, attempt)
        return None if offset == _NO_OFFSET else offset

    def writer(self, name: str) -> contextlib.AbstractAsyncContextManager[Writer]:
        """Become the owner of `name`."""
        return kafka_writer(self._cluster, name)

    def appender(self) -> contextlib.AbstractAsyncContextManager[Appender]:
        """Open an appender."""
        return kafka_appender(self._cluster)

    def reader(self, topic: str, positions: Mapping[int, int]) -> contextlib.AbstractAsyncContextManager[Reader]:
        """Read partitions, each from its offset on."""
        return kafka_reader(self._cluster, topic, positions)

    @contextlib.asynccontextmanager
    async def join(self, topic: str, group: str, member: str, worker: PartitionWorker) -> AsyncIterator[None]:
        """Be a member of a group for as long as the context lasts."""

        @contextlib.asynccontextmanager
        async def open_reader(number: int) -> AsyncIterator[Reader]:
            start = await self.committed(group, TopicPartition(topic, number))
            if start is None:
                start = (await self.bounds(topic))[number][0]
            async with self.reader(topic, {number: start}) as reader:
                yield reader

        await self._cluster.topic(topic)
        async with Tasks() as worker_tasks:
            reads = GroupTopic(group, topic)
            workers = PartitionWorkers(reads, worker, open_reader, worker_tasks, clock=self._cluster.clock)
            membership = Membership(self._cluster, topic, self._cluster.prefixed(group), member, workers)
            try:
                async with Tasks() as tasks:
                    tasks.keep(f"member {member} of {group}", membership.run())
                    yield
            finally:
                try:
                    await workers.stop(workers.partitions)
                finally:
                    await membership.leave()


@contextlib.asynccontextmanager
async def connect_kafka(options: KafkaOptions, *, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[KafkaBus]:
    """Connect for as long as the context lasts.

    Raises:
        Unavailable: no broker answers.
        SettingsError: a certificate file cannot be used.
    """
    async with connected_cluster(options, clock=clock) as cluster:
        yield KafkaBus(cluster)


@contextlib.asynccontextmanager
async def connected_cluster(options: KafkaOptions, *, clock: Clock, place: str = "bus: ") -> AsyncIterator[Cluster]:
    """Connect to a cluster as `connect_kafka` does; `place` begins the text of a settings error."""
    lower_aiokafka_logs()
    tls = await asyncio.to_thread(BrokerTls, options, place) if "SSL" in options.security_protocol else None
    cluster = Cluster(options, tls, clock)
    try:
        await cluster.refresh()
        async with Tasks() as tasks:
            tasks.keep("watch Kafka", _watch(cluster))
            if tls is not None:
                tasks.keep("follow the certificates for Kafka", tls.follow(clock))
            yield cluster
    finally:
        await cluster.close()


async def _watch(cluster: Cluster) -> None:
    """Request the metadata of the topics in use at an interval, and report what is wrong."""
    while True:
        await cluster.clock.sleep(_METADATA_INTERVAL)
        try:
            topics = await cluster.refresh(cluster.known_topics)
        except TrelayError as exc:
            cluster.problems["Kafka"] = str(exc)
            continue
        leaderless = [
            f"{topic.name}/{number}"
            for topic in topics.values()
            for number, leader in topic.leaders.items()
            if leader is None
        ]
        if leaderless:
            cluster.problems["Kafka"] = f"no leader for {', '.join(leaderless)}"
        else:
            cluster.problems.pop("Kafka", None)
