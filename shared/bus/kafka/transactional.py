"""One transactional id: the requests of one transaction, one after the other.

See KIP-98. The order of requests is theirs: partitions and group are made known to the coordinator before anything is
written to them. Both are made known before either is written to, because a broker that is asked to write while the
coordinator changes its notes answers NOT_ENOUGH_REPLICAS; the records and the offsets are then written at once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
)

from shared.bus.kafka.batches import Batch, Encoder, Producer
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, NOT_ATTEMPTED, Moved, of_code
from shared.bus.kafka.producing import Producing, raise_first
from shared.bus.protocol import TopicPartition, Transaction
from shared.runtime.tasks import together

T = TypeVar("T")

Step = Callable[[], Coroutine[Any, Any, None]]


class TransactionalId:
    """The owner of one transactional id. Methods raise `Fenced` when there is a newer one."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.name = name
        self.began = False
        """Whether the coordinator may hold an open transaction of ours."""
        self.abandoned = False
        """Whether we stopped in the middle: a request may still arrive, so aborting might come before it."""
        self._cluster = cluster
        self._connections = cluster.connections()
        self._producing = Producing(cluster, self._connections, name)
        # Offsets go to the group's coordinator while records go to leaders: on one connection, one would wait.
        self._coordinators = cluster.connections()
        self._known: dict[tuple[Literal["group", "transaction"], str], Broker] = {}
        self._producer = Producer(-1, -1)

    async def open(self) -> Encoder:
        """Fence the older owner, and return once what it had under way is decided.

        Raises:
            Unavailable: no coordinator answers.
        """
        request = InitProducerIdRequest(self.name, int(self._cluster.longest_transaction * 1000))

        def take(answer: Any) -> None:
            self._check(answer.error_code, "opening")
            self._producer = Producer(answer.producer_id, answer.producer_epoch)

        await self._ask("opening", "transaction", self.name, request, take)
        return Encoder(self._producer, self._cluster.options.compression, transactional=True)

    async def write(self, transaction: Transaction, batches: Sequence[Batch], deadline: float) -> None:
        """Write records and offsets, visible to nobody yet."""
        known: list[Step] = []
        written: list[Step] = []
        if batches:
            known.append(partial(self._add_partitions, batches, deadline))
            written.append(partial(self._produce, batches, deadline))
        if transaction.offsets:
            assert transaction.group is not None, "offsets belong to a group"
            group = self._cluster.identity(transaction.group)
            known.append(partial(self._add_offsets, group, deadline))
            written.append(partial(self._commit_offsets, group, transaction.offsets, deadline))
        self.began = bool(known)
        try:
            await together(*(step() for step in known))
            await together(*(step() for step in written))
        except asyncio.CancelledError:
            self.abandoned = True
            raise

    async def end(self, deadline: float, *, commit: bool) -> None:
        """Commit or abort. Asked twice, as after an answer that got lost, the coordinator gives the same answer."""
        request = EndTxnRequest(self.name, *self._producer, commit)

        def take(answer: Any) -> None:
            self._check(answer.error_code, "committing" if commit else "aborting")

        await self._ask("ending", "transaction", self.name, request, take, deadline)
        self.began = False

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(self._connections.close(), self._coordinators.close())

    async def _produce(self, batches: Sequence[Batch], deadline: float) -> None:
        raise_first(await self._producing.write(batches, deadline))

    async def _add_partitions(self, batches: Sequence[Batch], deadline: float) -> None:
        wanted: dict[str, set[int]] = {}
        for batch in batches:
            wanted.setdefault(batch.topic, set()).add(batch.partition)
        topics = [(topic, sorted(partitions)) for topic, partitions in wanted.items()]
        request = AddPartitionsToTxnRequest(self.name, *self._producer, topics)

        def take(answer: Any) -> None:
            self._check_each(answer.errors, "adding")

        await self._ask("adding partitions", "transaction", self.name, request, take, deadline)

    async def _add_offsets(self, group: str, deadline: float) -> None:
        request = AddOffsetsToTxnRequest(self.name, *self._producer, group)

        def take(answer: Any) -> None:
            self._check(answer.error_code, f"adding the offsets of {group}")

        await self._ask("adding offsets", "transaction", self.name, request, take, deadline)

    async def _commit_offsets(self, group: str, offsets: Mapping[TopicPartition, int], deadline: float) -> None:
        by_topic: dict[str, list[tuple[int, int, str]]] = {}
        for (topic, partition), offset in offsets.items():
            by_topic.setdefault(topic, []).append((partition, offset, ""))
        request = TxnOffsetCommitRequest(self.name, group, *self._producer, list(by_topic.items()))

        def take(answer: Any) -> None:
            self._check_each(answer.errors, f"settling, for {group},")

        await self._ask("settling offsets", "group", group, request, take, deadline)

    def _check_each(self, topics: Iterable[Any], doing: str) -> None:
        codes = {(topic, partition): code for topic, partitions in topics for partition, code in partitions}
        # What was not attempted was not because of what failed: that is the one to tell.
        for (topic, partition), code in sorted(codes.items(), key=lambda entry: entry[1] == NOT_ATTEMPTED):
            self._check(code, f"{doing} {topic}/{partition}")

    def _check(self, code: int, doing: str) -> None:
        if code != NONE:
            raise of_code(code, f"{self.name}: {doing}")

    async def _ask(
        self,
        doing: str,
        kind: Literal["group", "transaction"],
        key: str,
        request: Any,
        take: Callable[[Any], T],
        deadline: float | None = None,
    ) -> T:
        """Ask the coordinator of `key` until `take` accepts its answer."""

        async def attempt() -> T:
            broker = self._known.get((kind, key))
            if broker is None:
                broker = self._known[kind, key] = await self._cluster.coordinator(kind, key)
            try:
                return take(await self._coordinators.send(broker, request))
            except (*LOST_CONNECTION, Moved):
                del self._known[kind, key]
                raise

        return await self._cluster.persist(f"{self.name}: {doing}", attempt, deadline)
