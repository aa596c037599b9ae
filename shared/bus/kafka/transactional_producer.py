"""The owner of one transactional id: sends the requests of one transaction after the other. See KIP-98.

Partitions and the group are added to the transaction before anything is written to them, as KIP-98 requires. Both are
added before either is written to: a broker that gets a write while the coordinator updates the transaction returns
NOT_ENOUGH_REPLICAS. The records and the offsets are then written at the same time, by different brokers. One broker
that writes both gets them over one connection, so one after the other: before a write it asks the coordinator whether
the partition was added (KIP-890), and where two requests of a transaction ask at once, it fails one of them.

A request without a response may be processed later: it is in the socket of a broker that is paused. If it ends a
transaction, it would end whichever is open by then. So after such a request the producer takes its next epoch before
the next transaction (`bump_epoch`, KIP-360); brokers refuse requests of the epoch before.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from shared.bus.kafka.batches import Encoder, ProducerIdAndEpoch, RecordBatch
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import (
    LOST_CONNECTION,
    NONE,
    OPERATION_NOT_ATTEMPTED,
    UNSTABLE_OFFSET_COMMIT,
    StaleMetadata,
    error_for_code,
)
from shared.bus.kafka.sender import Sender, raise_first
from shared.bus.kafka.wire.metadata import CoordinatorKind
from shared.bus.kafka.wire.offsets import offset_fetch
from shared.bus.kafka.wire.transactions import (
    NO_PRODUCER,
    add_offsets_to_txn,
    add_partitions_to_txn,
    end_txn,
    init_producer_id,
    txn_offset_commit,
)
from shared.bus.protocol import TopicPartition, Transaction
from shared.errors import Fenced
from shared.runtime.tasks import together

T = TypeVar("T")

_NO_OFFSET = -1
_PAUSE = 0.002

Step = Callable[[], Coroutine[Any, Any, None]]


class TransactionalProducer:
    """Owns one transactional id. Its methods raise `Fenced` if there is a newer owner."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        """`name` is the transactional id."""
        self.name = name
        self.in_transaction = False
        """Whether the coordinator may have an open transaction of this producer."""
        self.interrupted = False
        """Whether `write` was cancelled: its requests may still arrive, so an abort could come before them."""
        self._cluster = cluster
        self._connections = cluster.connections()
        """For what is written: records by the leaders of their partitions, offsets by the coordinator of the group."""
        self._sender = Sender(cluster, self._connections, name)
        self._coordinator_connections = cluster.connections()
        """For the coordinator of the transaction."""
        self._coordinators: dict[tuple[CoordinatorKind, str], Broker] = {}
        self._producer = ProducerIdAndEpoch(*NO_PRODUCER)
        self._unanswered = False

    @property
    def must_bump_epoch(self) -> bool:
        """Whether a request got no response, so `bump_epoch` must come before the next transaction."""
        return self._unanswered or self._sender.unanswered

    async def open(self) -> Encoder:
        """Fence older owners, and return once all that they had in flight is committed or aborted.

        Raises:
            Unavailable: no coordinator answers.
        """
        encoder = await self._init(ProducerIdAndEpoch(*NO_PRODUCER))
        if self.must_bump_epoch:
            # An attempt without a response may be processed later, and would fence this producer.
            try:
                encoder = await self.bump_epoch()
            except Fenced:
                encoder = await self._init(ProducerIdAndEpoch(*NO_PRODUCER))
        return encoder

    async def bump_epoch(self) -> Encoder:
        """Take the next epoch, so that brokers refuse all requests of an epoch before.

        Raises:
            Fenced: there is a newer owner.
            Unavailable: no coordinator answers.
        """
        return await self._init(self._producer)

    async def _init(self, producer: ProducerIdAndEpoch) -> Encoder:
        request = init_producer_id(self.name, self._cluster.transaction_timeout, producer)

        def accept(response: Any) -> None:
            self._check(response.error_code, "init producer")
            self._producer = ProducerIdAndEpoch(response.producer_id, response.producer_epoch)

        if producer != NO_PRODUCER:
            # An attempt without a response sets it again: then the epoch is bumped once more, the next time.
            self._unanswered = self._sender.unanswered = False
        await self._send("init producer", "transaction", self.name, request, accept)
        return Encoder(self._producer, self._cluster.options.compression, transactional=True)

    async def committed(self, group: str, position: TopicPartition, deadline: float) -> int | None:
        """Return the offset that a group reads next, including all that older owners have committed.

        A coordinator that was paused, and does not know its successor yet, would return an old offset. So this asks a
        coordinator that has just stored something for this producer on all its replicas in sync: an offset in a
        transaction that is then aborted. Older owners are fenced, so no commit can be missing there.
        """
        request = offset_fetch(group, *position)
        doing = f"read the committed offset of group {group}"

        async def attempt() -> int:
            await self._add_offsets(group, deadline)
            self.in_transaction = True
            await self._commit_offsets(group, {position: 0}, deadline)
            coordinator = self._coordinators.get(("group", group))
            await self.end(deadline, commit=False)
            if coordinator is None:
                raise StaleMetadata(f"{self.name}: the coordinator of group {group} has changed")
            code, offset = await self._fetch_offset(coordinator, request)
            while code == UNSTABLE_OFFSET_COMMIT:  # until the marker of the abort is written
                await self._cluster.clock.sleep(_PAUSE)
                code, offset = await self._fetch_offset(coordinator, request)
            self._check(code, doing)
            return offset

        offset = await self._cluster.retry(f"{self.name}: {doing}", attempt, deadline)
        return None if offset == _NO_OFFSET else offset

    async def _fetch_offset(self, coordinator: Broker, request: Any) -> tuple[int, int]:
        response = await self._connections.send(coordinator, request)
        if response.error_code != NONE:
            return response.error_code, _NO_OFFSET
        [[_, [[_, offset, _, _, code, _]], _]] = response.topics
        return code, offset

    async def write(self, transaction: Transaction, batches: Sequence[RecordBatch], deadline: float) -> None:
        """Write records and offsets; they are not visible before `end` commits them."""
        additions: list[Step] = []
        writes: list[Step] = []
        if batches:
            additions.append(partial(self._add_partitions, batches, deadline))
            writes.append(partial(self._produce, batches, deadline))
        if transaction.offsets:
            assert transaction.group is not None, "offsets belong to a group"
            group = self._cluster.prefixed(transaction.group)
            additions.append(partial(self._add_offsets, group, deadline))
            # First, as it is small: on a shared connection, the other one waits for it.
            writes.insert(0, partial(self._commit_offsets, group, transaction.offsets, deadline))
        self.in_transaction = bool(additions)
        try:
            await together(*(step() for step in additions))
            await together(*(step() for step in writes))
        except asyncio.CancelledError:
            self.interrupted = True
            raise

    async def end(self, deadline: float, *, commit: bool) -> None:
        """Commit or abort. If a response is lost, the request is repeated, and the coordinator answers it the same."""
        request = end_txn(self.name, self._producer, commit=commit)

        def accept(response: Any) -> None:
            self._check(response.error_code, "commit" if commit else "abort")

        await self._send("end transaction", "transaction", self.name, request, accept, deadline)
        self.in_transaction = False

    async def close(self) -> None:
        await asyncio.gather(self._connections.close(), self._coordinator_connections.close())

    async def _produce(self, batches: Sequence[RecordBatch], deadline: float) -> None:
        raise_first(await self._sender.write(batches, deadline))

    async def _add_partitions(self, batches: Sequence[RecordBatch], deadline: float) -> None:
        partitions = [(batch.topic, batch.partition) for batch in batches]
        request = add_partitions_to_txn(self.name, self._producer, partitions)

        def accept(response: Any) -> None:
            self._check_each(response.errors, "add partition")

        await self._send("add partitions", "transaction", self.name, request, accept, deadline)

    async def _add_offsets(self, group: str, deadline: float) -> None:
        request = add_offsets_to_txn(self.name, self._producer, group)

        def accept(response: Any) -> None:
            self._check(response.error_code, f"add offsets of group {group}")

        await self._send("add offsets", "transaction", self.name, request, accept, deadline)

    async def _commit_offsets(self, group: str, offsets: Mapping[TopicPartition, int], deadline: float) -> None:
        request = txn_offset_commit(self.name, self._producer, group, offsets)

        def accept(response: Any) -> None:
            self._check_each(response.errors, f"commit offset of group {group} in")

        await self._send("commit offsets", "group", group, request, accept, deadline)

    def _check_each(self, topics: Iterable[Any], doing: str) -> None:
        codes = {(topic, partition): code for topic, partitions in topics for partition, code in partitions}
        # An operation was not attempted because another one failed: report that one.
        for (topic, partition), code in sorted(codes.items(), key=lambda entry: entry[1] == OPERATION_NOT_ATTEMPTED):
            self._check(code, f"{doing} {topic}/{partition}")

    def _check(self, code: int, doing: str) -> None:
        if code != NONE:
            raise error_for_code(code, f"{self.name}: {doing}")

    async def _send(
        self,
        doing: str,
        kind: CoordinatorKind,
        key: str,
        request: Any,
        accept: Callable[[Any], T],
        deadline: float | None = None,
    ) -> T:
        """Send a request to the coordinator of `key` until `accept` raises no error for the response."""
        connections = self._coordinator_connections if kind == "transaction" else self._connections

        async def attempt() -> T:
            broker = self._coordinators.get((kind, key))
            if broker is None:
                broker = self._coordinators[kind, key] = await self._cluster.coordinator(kind, key)
            try:
                return accept(await connections.send(broker, request))
            except (*LOST_CONNECTION, StaleMetadata) as exc:
                # Two requests to one coordinator may fail together, and the second may already know its successor.
                if self._coordinators.get((kind, key)) == broker:
                    del self._coordinators[kind, key]
                self._unanswered |= not isinstance(exc, StaleMetadata)
                raise

        return await self._cluster.retry(f"{self.name}: {doing}", attempt, deadline)
