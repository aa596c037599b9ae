"""The `Bus` on Kafka."""

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping

from shared.bus.kafka.appender import MARKER_KEY, append_to_each, kafka_appender
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.errors import NONE, of_code
from shared.bus.kafka.client.quiet import quieten
from shared.bus.kafka.membership import Membership
from shared.bus.kafka.options import KafkaOptions
from shared.bus.kafka.reader import kafka_reader
from shared.bus.kafka.topics import bounds, ensure_topics
from shared.bus.kafka.wire.offsets import offset_fetch
from shared.bus.kafka.writer import kafka_writer
from shared.bus.partition_workers import GroupTopic, PartitionWorkers
from shared.bus.protocol import Appender, Outgoing, PartitionWorker, Reader, TopicOptions, TopicPartition, Writer
from shared.errors import SettingsError, TrelayError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

_WATCH = 2.0
_NOTHING_SETTLED = -1


class KafkaBus:
    """See `shared.bus.protocol.Bus`. Names of writers and groups carry the topics' prefix in the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @property
    def problem(self) -> str | None:
        """What keeps the bus from working right now; None while it works."""
        return next(iter(self._cluster.problems.values()), None)

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Make the topics that are missing; check the others."""
        await ensure_topics(self._cluster, topics)

    async def epoch(self, topic: str) -> str:
        """Return the topic's id (KIP-516), which the cluster makes anew with every topic."""
        known = (await self._cluster.refresh([topic])).get(topic)
        if known is None:
            raise Unavailable(f"topic {topic} does not exist")
        return known.epoch

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the last stable one, by partition."""
        return await bounds(self._cluster, topic)

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the newest values under a name."""
        # Where a log ends is not asked: a leader that was paused, and has not heard yet that there is another, would
        # tell an older end. What we append is in the log that the cluster agrees on, behind all that was committed.
        marker = secrets.token_bytes(16)
        first = {number: earliest for number, (earliest, _) in (await bounds(self._cluster, topic)).items()}
        await append_to_each(self._cluster, topic, Outgoing(MARKER_KEY, marker), first)
        newest: dict[bytes, bytes | None] = {}
        below = name + b"/"
        async with self.reader(topic, first) as reader:
            deadline = self._cluster.clock.monotonic() + self._cluster.longest_transaction
            missing = set(first)
            while missing:
                if self._cluster.clock.monotonic() > deadline:
                    raise Unavailable(f"{topic}: its end is not readable, somebody's transaction lies open there")
                for record in await reader.read(wait=0.05):
                    if record.value == marker:
                        missing.discard(record.partition)
                    elif record.key is not None and (record.key == name or record.key.startswith(below)):
                        newest[record.key] = record.value
        return {key: value for key, value in newest.items() if value is not None}

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset a group is to read next."""
        identity = self._cluster.identity(group)
        place = f"asking how far group {group} is"
        request = offset_fetch(identity, *position)

        async def attempt() -> int:
            coordinator = await self._cluster.coordinator("group", identity)
            answer = await self._cluster.ask(coordinator, request)
            if answer.error_code != NONE:
                raise of_code(answer.error_code, place)
            [[_, [[_, offset, _, _, code, _]], _]] = answer.topics
            if code != NONE:
                raise of_code(code, place)
            return int(offset)

        offset = await self._cluster.persist(place, attempt)
        return None if offset == _NOTHING_SETTLED else offset

    def writer(self, name: str) -> contextlib.AbstractAsyncContextManager[Writer]:
        """Become the owner of `name`."""
        return kafka_writer(self._cluster, name)

    def appender(self) -> contextlib.AbstractAsyncContextManager[Appender]:
        """Open a way to append."""
        return kafka_appender(self._cluster)

    def reader(self, topic: str, positions: Mapping[int, int]) -> contextlib.AbstractAsyncContextManager[Reader]:
        """Read partitions from given offsets on."""
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
        async with Tasks() as drives:
            reads = GroupTopic(group, topic)
            driving = PartitionWorkers(reads, worker, open_reader, drives, clock=self._cluster.clock)
            membership = Membership(self._cluster, topic, self._cluster.identity(group), member, driving)
            try:
                async with Tasks() as tasks:
                    tasks.keep(f"member {member} of {group}", membership.run())
                    yield
            finally:
                await driving.stop(driving.partitions)
                await membership.leave()


@contextlib.asynccontextmanager
async def connect_kafka(options: KafkaOptions, *, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[KafkaBus]:
    """Connect for as long as the context lasts.

    Raises:
        Unavailable: no broker answers.
        SettingsError: a file of certificates cannot be used.
    """
    quieten()
    cluster = Cluster(options, await asyncio.to_thread(_tls, options), clock)
    try:
        await cluster.refresh()
        async with Tasks() as tasks:
            tasks.keep("watching Kafka", _watch(cluster))
            yield KafkaBus(cluster)
    finally:
        await cluster.close()


async def _watch(cluster: Cluster) -> None:
    """Ask again and again how the topics in use are, and note what is wrong."""
    while True:
        await cluster.clock.sleep(_WATCH)
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


def _tls(options: KafkaOptions) -> ssl.SSLContext | None:
    if "SSL" not in options.security_protocol:
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.certificate_file is not None:
            context.load_cert_chain(options.certificate_file)
    except OSError as exc:  # ssl.SSLError is one
        raise SettingsError(
            f"bus: ca_file {options.ca_file}, certificate_file {options.certificate_file}: {exc}"
        ) from exc
    return context
