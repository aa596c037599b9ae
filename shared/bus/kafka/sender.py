"""Sends record batches to the leaders of their partitions, each exactly once, however often it must be sent."""

from collections.abc import Iterable, Sequence

from shared.bus.kafka.batches import RecordBatch
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker, BrokerConnections
from shared.bus.kafka.client.errors import (
    DUPLICATE_SEQUENCE_NUMBER,
    LOST_CONNECTION,
    NONE,
    Retriable,
    StaleMetadata,
    error_for_code,
    translate,
)
from shared.bus.kafka.wire.produce import produce
from shared.errors import TrelayError, Unavailable
from shared.runtime.tasks import together

Failures = dict[tuple[str, int], TrelayError]
"""By topic and partition: why its batches could not be written."""


class Sender:
    """Sends batches that an `Encoder` has numbered, one for each partition at a time, until the brokers have them all.

    A broker recognizes a batch by its sequence number and does not store it again, so a batch without a response is
    sent again.
    """

    def __init__(self, cluster: Cluster, connections: BrokerConnections, transactional_id: str | None = None) -> None:
        self._cluster = cluster
        self._connections = connections
        self._transactional_id = transactional_id
        self.unanswered = False
        """Whether a request got no response: a broker may still process it later."""

    async def write(self, batches: Sequence[RecordBatch], deadline: float) -> Failures:
        """Return once each batch is on all replicas in sync, or has failed."""
        failures: Failures = {}
        for turn in _turns(batches):
            await self._write_turn([batch for batch in turn if batch[:2] not in failures], failures, deadline)
        return failures

    async def _write_turn(self, batches: list[RecordBatch], failures: Failures, deadline: float) -> None:
        remaining = {batch[:2]: batch for batch in batches}

        async def attempt() -> None:
            error = await self._send(remaining, failures)
            if isinstance(error, StaleMetadata):
                self._cluster.invalidate({topic for topic, _ in remaining})
            if error is not None:
                raise error

        try:
            await self._cluster.retry("write", attempt, deadline)
        except TrelayError as exc:
            failures.update(dict.fromkeys(remaining, exc))

    async def _send(self, remaining: dict[tuple[str, int], RecordBatch], failures: Failures) -> Retriable | None:
        """Send each leader its batches, remove those that are done, and return why others remain."""
        by_leader: dict[Broker, list[RecordBatch]] = {}
        for batch in remaining.values():
            topic = await self._cluster.topic(batch.topic)
            by_leader.setdefault(topic.leader(batch.partition), []).append(batch)
        errors = await together(
            *(self._send_to(leader, batches, remaining, failures) for leader, batches in by_leader.items())
        )
        return next((error for error in errors if error is not None), None)

    async def _send_to(
        self,
        leader: Broker,
        batches: list[RecordBatch],
        remaining: dict[tuple[str, int], RecordBatch],
        failures: Failures,
    ) -> Retriable | None:
        content: dict[str, dict[int, tuple[bytes, bytes]]] = {}
        for batch in batches:
            content.setdefault(batch.topic, {})[batch.partition] = batch.head, batch.records
        request = produce(self._transactional_id, self._cluster.options.request_timeout, content)
        try:
            response = await self._connections.send(leader, request)
        except LOST_CONNECTION as exc:
            self.unanswered = True
            error = translate(exc, f"write to {leader.host}:{leader.port}")
            return StaleMetadata(str(error))
        retriable: Retriable | None = None
        for topic, partitions in response.topics:
            for partition, code, *_ in partitions:
                failure = _failure(code, f"write to {topic}/{partition}")
                if isinstance(failure, Retriable):
                    retriable = failure
                    continue
                del remaining[topic, partition]
                if failure is not None:
                    failures[topic, partition] = failure
        return retriable


def raise_first(failures: Failures) -> None:
    """Raise the gravest failure, if there is one: failures as unavailable may follow from it."""
    gravest = sorted(failures.values(), key=lambda error: isinstance(error, Unavailable))
    if gravest:
        raise gravest[0]


def _failure(code: int, doing: str) -> TrelayError | None:
    return None if code in {NONE, DUPLICATE_SEQUENCE_NUMBER} else error_for_code(code, doing)


def _turns(batches: Iterable[RecordBatch]) -> list[list[RecordBatch]]:
    """Divide batches, in order, into turns with at most one batch of each partition."""
    turns: list[list[RecordBatch]] = []
    last_turns: dict[tuple[str, int], int] = {}
    for batch in batches:
        turn = last_turns[batch[:2]] = last_turns.get(batch[:2], -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(batch)
    return turns
