"""The appender: many calls in one round trip."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from shared.bus.group_commit import Call, GroupCommit
from shared.bus.kafka.batches import Encoder, ProducerIdAndEpoch, RecordBatch, by_partition
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.errors import NONE, error_for_code
from shared.bus.kafka.sender import Failures, Sender, raise_first
from shared.bus.kafka.wire.transactions import init_producer_id
from shared.bus.protocol import Outgoing, check_size
from shared.errors import TrelayError
from shared.runtime.tasks import Tasks

_NO_TRANSACTION_TIMEOUT = 2**31 // 1000

MARKER_KEY = b"\0marker"
"""The key of records that only mark a position; no name of a source or a client begins like this."""


class KafkaAppender:
    """An `Appender`. While one round of calls is in flight, the next one gathers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connections = cluster.connections()
        self._sender = Sender(cluster, self._connections)
        self._encoder: Encoder | None = None
        self.rounds = GroupCommit(self._append_round)

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append with the next round."""
        size = sum(check_size(topic, record) for record in records)
        with self.rounds.caller():
            await self._cluster.topic(topic)
            if records:
                await self.rounds.join(topic, records, size)

    async def close(self) -> None:
        """Fail the calls that wait, and close the connections."""
        try:
            await self.rounds.close()
        finally:
            await self._connections.close()

    async def _append_round(self, calls: list[Call]) -> None:
        deadline = self._cluster.clock.monotonic() + self._cluster.options.delivery_timeout
        partitions: dict[Call, set[tuple[str, int]]] = {}
        try:
            if self._encoder is None:
                self._encoder = await _idempotent_encoder(self._cluster, deadline)
            batches = await self._encode(self._encoder, calls, partitions)
            failures = await self._sender.write(batches, deadline)
        except TrelayError as exc:
            for call in calls:
                call.finish(exc)
            return
        if failures:
            # A batch that was not stored leaves a gap in the sequence numbers, which brokers refuse: use another one.
            self._encoder = None
        for call in calls:
            own: Failures = {place: failures[place] for place in partitions[call] if place in failures}
            try:
                raise_first(own)
            except TrelayError as exc:
                call.finish(exc)
            else:
                call.finish()

    async def _encode(
        self, encoder: Encoder, calls: list[Call], partitions: dict[Call, set[tuple[str, int]]]
    ) -> list[RecordBatch]:
        now = int(self._cluster.clock.time() * 1000)
        grouped: dict[tuple[str, int], list[Outgoing]] = {}
        for call in calls:
            topic = await self._cluster.topic(call.topic)
            own = by_partition(call.records, len(topic.leaders))
            partitions[call] = {(call.topic, partition) for partition in own}
            for partition, records in own.items():
                grouped.setdefault((call.topic, partition), []).extend(records)
        return [batch for place, records in grouped.items() for batch in encoder.encode(*place, records, now)]


async def _idempotent_encoder(cluster: Cluster, deadline: float) -> Encoder:
    async def attempt() -> Encoder:
        response = await cluster.send_to_any(init_producer_id(None, _NO_TRANSACTION_TIMEOUT))
        if response.error_code != NONE:
            raise error_for_code(response.error_code, "init appender")
        producer = ProducerIdAndEpoch(response.producer_id, response.producer_epoch)
        return Encoder(producer, cluster.options.compression, transactional=False)

    return await cluster.retry("init appender", attempt, deadline)


async def append_to_each(cluster: Cluster, topic: str, record: Outgoing, partitions: Iterable[int]) -> None:
    """Append a record to each of these partitions; return when it is on all replicas in sync.

    Raises:
        Unavailable: the bus does not answer.
    """
    deadline = cluster.clock.monotonic() + cluster.options.delivery_timeout
    encoder = await _idempotent_encoder(cluster, deadline)
    now = int(cluster.clock.time() * 1000)
    batches = [batch for number in partitions for batch in encoder.encode(topic, number, [record], now)]
    connections = cluster.connections()
    try:
        raise_first(await Sender(cluster, connections).write(batches, deadline))
    finally:
        await connections.close()


@asynccontextmanager
async def kafka_appender(cluster: Cluster) -> AsyncIterator[KafkaAppender]:
    """Append for as long as the context lasts."""
    appender = KafkaAppender(cluster)
    try:
        async with Tasks() as tasks:
            tasks.keep("append to Kafka", appender.rounds.run())
            yield appender
            await appender.rounds.drain()
    finally:
        await appender.close()
