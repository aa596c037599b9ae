"""The appender: everybody's single records, many calls to a round trip."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from shared.bus.group_commit import Call, GroupCommit
from shared.bus.kafka.batches import Batch, Encoder, Producer, by_partition
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.errors import NONE, of_code
from shared.bus.kafka.producing import Failures, Producing, raise_first
from shared.bus.kafka.wire.transactions import init_producer_id
from shared.bus.protocol import Outgoing, check_size
from shared.errors import TrelayError
from shared.runtime.tasks import Tasks

_NO_TIMEOUT = 2**31 // 1000

MARKER_KEY = b"\0marker"
"""Of records that only mark a place; no name of a source or a client begins like this."""


class KafkaAppender:
    """An `Appender`. While one round of calls is on its way, the next one gathers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connections = cluster.connections()
        self._producing = Producing(cluster, self._connections)
        self._encoder: Encoder | None = None
        self.rounds = GroupCommit(self._round)

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append with the next round."""
        size = sum(check_size(topic, record) for record in records)
        with self.rounds.caller():
            await self._cluster.topic(topic)
            if records:
                await self.rounds.join(topic, records, size)

    async def close(self) -> None:
        """Close the connections."""
        await self.rounds.close()
        await self._connections.close()

    async def _round(self, calls: list[Call]) -> None:
        deadline = self._cluster.clock.monotonic() + self._cluster.options.patience
        places: dict[Call, set[tuple[str, int]]] = {}
        try:
            encoder = self._encoder or await self._open(deadline)
            batches = await self._encode(encoder, calls, places)
            failures = await self._producing.write(batches, deadline)
        except TrelayError as exc:
            for call in calls:
                call.finish(exc)
            return
        if failures:
            # What was not stored leaves a gap in the numbers, which brokers refuse to pass over: begin anew.
            self._encoder = None
        for call in calls:
            mine: Failures = {place: failures[place] for place in places[call] if place in failures}
            try:
                raise_first(mine)
            except TrelayError as exc:
                call.finish(exc)
            else:
                call.finish()

    async def _encode(
        self, encoder: Encoder, calls: list[Call], places: dict[Call, set[tuple[str, int]]]
    ) -> list[Batch]:
        now = int(self._cluster.clock.time() * 1000)
        dealt: dict[tuple[str, int], list[Outgoing]] = {}
        for call in calls:
            topic = await self._cluster.topic(call.topic)
            mine = by_partition(call.records, len(topic.leaders))
            places[call] = {(call.topic, partition) for partition in mine}
            for partition, records in mine.items():
                dealt.setdefault((call.topic, partition), []).extend(records)
        return [batch for place, records in dealt.items() for batch in encoder.encode(*place, records, now)]

    async def _open(self, deadline: float) -> Encoder:
        self._encoder = await _encoder(self._cluster, deadline)
        return self._encoder


async def _encoder(cluster: Cluster, deadline: float) -> Encoder:
    async def attempt() -> Encoder:
        answer = await cluster.ask_any(init_producer_id(None, _NO_TIMEOUT))
        if answer.error_code != NONE:
            raise of_code(answer.error_code, "beginning to append")
        producer = Producer(answer.producer_id, answer.producer_epoch)
        return Encoder(producer, cluster.options.compression, transactional=False)

    return await cluster.persist("beginning to append", attempt, deadline)


async def append_to_each(cluster: Cluster, topic: str, record: Outgoing, partitions: Iterable[int]) -> None:
    """Append a record to each of these partitions; return when every replica in sync has it.

    Raises:
        Unavailable: the bus does not answer.
    """
    deadline = cluster.clock.monotonic() + cluster.options.patience
    encoder = await _encoder(cluster, deadline)
    now = int(cluster.clock.time() * 1000)
    batches = [batch for number in partitions for batch in encoder.encode(topic, number, [record], now)]
    connections = cluster.connections()
    try:
        raise_first(await Producing(cluster, connections).write(batches, deadline))
    finally:
        await connections.close()


@asynccontextmanager
async def kafka_appender(cluster: Cluster) -> AsyncIterator[KafkaAppender]:
    """Append for as long as the context lasts."""
    appender = KafkaAppender(cluster)
    async with Tasks() as tasks:
        tasks.keep("appending to Kafka", appender.rounds.run())
        try:
            yield appender
            await appender.rounds.drain()
        finally:
            await tasks.cancel_all()
            await appender.close()
