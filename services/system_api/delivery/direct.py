"""A bus whose events are delivered to `POST /entity`; checkpoints and dead letters stay on a bus behind it.

A transaction is carried out in this order: what it has begun to read is committed, its events are stored by the other
side, then the checkpoint is committed. A crash in between delivers the events again. So events arrive at least once, in
order, with ids that do not change.

An event that the other side refuses for itself is committed with the checkpoint, as a dead letter: it does not stop
those after it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from services.system_api.delivery.folder_bus import FolderBus
from services.system_api.delivery.sender import EventsRefused, RefusedEvent, Sender
from shared.bus.protocol import (
    Appender,
    Bus,
    Outgoing,
    PartitionWorker,
    Reader,
    TakeRecords,
    TopicOptions,
    TopicPartition,
    Transaction,
    Writer,
)
from shared.bus.topics import TopicsOptions
from shared.bus.transaction_queue import TransactionQueue, Turn, Work
from shared.errors import Unavailable
from shared.runtime import failpoints
from shared.runtime.tasks import Tasks

_JOIN_TIMEOUT = 2.0


def _always() -> bool:
    return True


@dataclass(slots=True)
class DeliverableTransaction(Transaction):
    """A transaction that is complete only once its events are delivered, because some of them may be refused."""

    conclude: Callable[[Mapping[int, RefusedEvent]], Mapping[str, list[Outgoing]]] | None = None
    """Called once the events are delivered, in the order of the transactions, with those that are refused, by their
    index. It returns the records to commit, in place of those that this transaction has."""
    begun: Transaction | None = None
    """What is committed before the events are delivered, because their ids depend on it."""
    owned: Callable[[], bool] = _always
    """Whether its source is still this replica's to run, as far as that is known here: the inner bus fences an older
    owner, but only after its events are delivered."""


class CheckpointBus(Protocol):
    """The part of a `Bus` that keeps checkpoints and dead letters; see there."""

    @property
    def problem(self) -> str | None: ...
    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None: ...
    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]: ...
    def writer(self, name: str) -> AbstractAsyncContextManager[Writer]: ...


class DirectBus:
    """A `Bus`, for the system layer."""

    def __init__(self, inner: CheckpointBus, sender: Sender, topics: TopicsOptions) -> None:
        """`inner` keeps checkpoints and dead letters; the topics of events are those of `topics`."""
        self._inner = inner
        self._sender = sender
        self._delivered = frozenset({topics.ingest, topics.publish})
        self._kept = frozenset({topics.checkpoints, topics.dead_letter})

    @property
    def problem(self) -> str | None:
        """Why events cannot be delivered, or checkpoints not be kept."""
        return self._inner.problem or self._sender.problem

    @property
    def problem_of_replica(self) -> str | None:
        """Why checkpoints cannot be kept, where that ends by itself and another replica may be able to.

        Only a delivery tells that the other side works again, and only a write that a folder does: a replica that left
        its sources because of these would never take them back.
        """
        return None if isinstance(self._inner, FolderBus) else self._inner.problem

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Create the topics that are kept here."""
        await self._inner.ensure_topics([topic for topic in topics if topic.name in self._kept])

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the latest values of a topic that is kept here."""
        return await self._inner.latest(topic, name)

    @asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        """Become the owner of a name on the inner bus, and deliver what is submitted."""
        async with self._inner.writer(name) as inner, Tasks() as tasks:
            queue = TransactionQueue(f"delivery of {name}", tasks)
            try:
                yield DirectWriter(inner, self._sender, self._delivered, queue)
            finally:
                queue.close()
                await queue.join(_JOIN_TIMEOUT)

    # Nothing of the system layer reads the topics that follow, but a comparison with the upstream.

    async def epoch(self, topic: str) -> str:
        """No topic can be read."""
        raise _unreadable(topic)

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """No topic can be read."""
        raise _unreadable(topic)

    async def ends(self, topic: str) -> Mapping[int, int]:
        """No topic can be read."""
        raise _unreadable(topic)

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:  # noqa: ARG002 -- as the protocol has it
        """No topic can be read."""
        raise _unreadable(topic)

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:  # noqa: ARG002 -- as the protocol has it
        """No topic can be read."""
        raise _unreadable(position.topic)

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """No topic can be read."""
        raise _unreadable(f"{position.topic}, group {group}")

    def appender(self) -> AbstractAsyncContextManager[Appender]:
        """No topic can be written without a checkpoint."""
        raise _unreadable("an appender")

    def reader(self, topic: str, positions: Mapping[int, int]) -> AbstractAsyncContextManager[Reader]:  # noqa: ARG002 -- as the protocol has it
        """No topic can be read."""
        raise _unreadable(topic)

    def join(self, topic: str, group: str, member: str, worker: PartitionWorker) -> AbstractAsyncContextManager[None]:  # noqa: ARG002 -- the same
        """No topic can be read."""
        raise _unreadable(topic)


def _unreadable(what: str) -> Unavailable:
    return Unavailable(f"{what}: events are delivered directly (`system.deliver`), and not kept on a bus")


class DirectWriter:
    """A `Writer` that delivers events before it commits the rest of their transaction."""

    def __init__(self, inner: Writer, sender: Sender, delivered: frozenset[str], queue: TransactionQueue) -> None:
        self._inner = inner
        self._sender = sender
        self._delivered = delivered
        self._queue = queue

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Submit a transaction; the next one may be submitted while it is delivered."""

        async def prepare() -> Work:
            async def work(turn: Turn) -> None:
                await turn.previous_committed()
                await self._carry_out(transaction)

            return work

        return await self._queue.submit(prepare)

    async def commit(self, transaction: Transaction) -> None:
        """Submit a transaction and wait until it is carried out."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset of a group on the inner bus."""
        return await self._inner.committed(group, position)

    async def _carry_out(self, transaction: Transaction) -> None:
        refused: Mapping[int, RefusedEvent] = {}
        owned = transaction.owned if isinstance(transaction, DeliverableTransaction) else _always
        if isinstance(transaction, DeliverableTransaction) and transaction.begun is not None:
            await self._inner.commit(transaction.begun)
        for topic in self._delivered & transaction.records.keys():  # one: a source has one topic
            refused = await self._sender.send(transaction.records[topic], owned)
        failpoints.reach("system.delivered")
        records: Mapping[str, list[Outgoing]] = transaction.records
        if isinstance(transaction, DeliverableTransaction) and transaction.conclude is not None:
            records = transaction.conclude(refused)
        elif refused:
            raise EventsRefused(next(iter(refused.values())).reason)
        kept = {topic: found for topic, found in records.items() if topic not in self._delivered}
        await self._inner.commit(Transaction(kept, transaction.group, transaction.offsets, transaction.placed))


@asynccontextmanager
async def connected_directly(
    connect: Callable[[], AbstractAsyncContextManager[CheckpointBus]],
    sender: Callable[[], AbstractAsyncContextManager[Sender]],
    topics: TopicsOptions,
) -> AsyncIterator[Bus]:
    """Connect to the bus that keeps checkpoints, and deliver events beside it."""
    async with connect() as inner, sender() as sending:
        yield DirectBus(inner, sending, topics)
