"""Batches to the leaders of their partitions, each exactly once however often it has to be sent."""

from collections.abc import Iterable, Sequence

from shared.bus.kafka.batches import Batch
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker, Connections
from shared.bus.kafka.client.errors import (
    DUPLICATE_SEQUENCE,
    LOST_CONNECTION,
    NONE,
    Moved,
    Passing,
    of_code,
    of_exception,
)
from shared.bus.kafka.wire.produce import produce
from shared.errors import TrelayError, Unavailable
from shared.runtime.tasks import together

Failures = dict[tuple[str, int], TrelayError]
"""By topic and partition: why its batches could not be written."""


class Producing:
    """Sends batches that an `Encoder` has numbered, one a partition at a time, until the brokers have them all.

    A broker knows a batch that it has by its number and does not store it again, so what has no answer is sent again.
    """

    def __init__(self, cluster: Cluster, connections: Connections, transactional_id: str | None = None) -> None:
        self._cluster = cluster
        self._connections = connections
        self._transactional_id = transactional_id
        self.unanswered = False
        """Whether a request got no answer: a broker may still carry it out later."""

    async def write(self, batches: Sequence[Batch], deadline: float) -> Failures:
        """Return once each batch is stored by every replica in sync, or will not be."""
        failures: Failures = {}
        for turn in _turns(batches):
            await self._write_turn([batch for batch in turn if batch[:2] not in failures], failures, deadline)
        return failures

    async def _write_turn(self, batches: list[Batch], failures: Failures, deadline: float) -> None:
        left = {batch[:2]: batch for batch in batches}

        async def attempt() -> None:
            passing = await self._send(left, failures)
            if isinstance(passing, Moved):
                self._cluster.forget({topic for topic, _ in left})
            if passing is not None:
                raise passing

        try:
            await self._cluster.persist("writing", attempt, deadline)
        except TrelayError as exc:
            failures.update(dict.fromkeys(left, exc))

    async def _send(self, left: dict[tuple[str, int], Batch], failures: Failures) -> Passing | None:
        """Send each leader its batches, take what is settled out of `left`, and return why something is left."""
        by_leader: dict[Broker, list[Batch]] = {}
        for batch in left.values():
            topic = await self._cluster.topic(batch.topic)
            by_leader.setdefault(topic.leader(batch.partition), []).append(batch)
        answers = await together(
            *(self._send_to(leader, batches, left, failures) for leader, batches in by_leader.items())
        )
        return next((answer for answer in answers if answer is not None), None)

    async def _send_to(
        self, leader: Broker, batches: list[Batch], left: dict[tuple[str, int], Batch], failures: Failures
    ) -> Passing | None:
        content: dict[str, dict[int, bytes | bytearray]] = {}
        for batch in batches:
            content.setdefault(batch.topic, {})[batch.partition] = batch.content
        request = produce(self._transactional_id, self._cluster.options.request_timeout, content)
        try:
            answer = await self._connections.send(leader, request)
        except LOST_CONNECTION as exc:
            self.unanswered = True
            error = of_exception(exc, f"writing to {leader.host}:{leader.port}")
            return Moved(str(error))
        passing: Passing | None = None
        for topic, partitions in answer.topics:
            for partition, code, *_ in partitions:
                failure = _failure(code, f"writing to {topic}/{partition}")
                if isinstance(failure, Passing):
                    passing = failure
                    continue
                del left[topic, partition]
                if failure is not None:
                    failures[topic, partition] = failure
        return passing


def raise_first(failures: Failures) -> None:
    """Raise what kept a batch from being written, if anything did: the gravest, for the others may follow from it."""
    gravest = sorted(failures.values(), key=lambda error: isinstance(error, Unavailable))
    if gravest:
        raise gravest[0]


def _failure(code: int, doing: str) -> TrelayError | None:
    return None if code in {NONE, DUPLICATE_SEQUENCE} else of_code(code, doing)


def _turns(batches: Iterable[Batch]) -> list[list[Batch]]:
    """Deal batches into turns with at most one of each partition, in order."""
    turns: list[list[Batch]] = []
    met: dict[tuple[str, int], int] = {}
    for batch in batches:
        turn = met[batch[:2]] = met.get(batch[:2], -1) + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(batch)
    return turns
