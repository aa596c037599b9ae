"""One transactional id: the requests of one transaction, one after the other.

See KIP-98. The order of requests is theirs: partitions and group are made known to the coordinator before anything is
written to them. Both are made known before either is written to, because a broker that is asked to write while the
coordinator changes its notes answers NOT_ENOUGH_REPLICAS; the records and the offsets are then written at once.

A request that got no answer may be carried out later: it lies in the socket of a broker that is paused. If it ends a
transaction, it would end whichever is open by then. So an id that has such a request behind it takes its next epoch
before the next transaction (`renew`, KIP-360): brokers refuse what comes with the epoch before.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from shared.bus.kafka.batches import Batch, Encoder, Producer
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, NOT_ATTEMPTED, UNSTABLE_OFFSET_COMMIT, Moved, of_code
from shared.bus.kafka.producing import Producing, raise_first
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

_NOTHING_SETTLED = -1
_PAUSE = 0.002

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
        self._known: dict[tuple[CoordinatorKind, str], Broker] = {}
        self._producer = Producer(*NO_PRODUCER)
        self._unanswered = False

    @property
    def doubtful(self) -> bool:
        """Whether a request of ours got no answer, so that `renew` comes before the next transaction."""
        return self._unanswered or self._producing.unanswered

    async def open(self) -> Encoder:
        """Fence the older owner, and return once what it had under way is decided.

        Raises:
            Unavailable: no coordinator answers.
        """
        encoder = await self._initialize(Producer(*NO_PRODUCER))
        if self.doubtful:
            # An attempt that got no answer may be carried out later, and would fence this one.
            try:
                encoder = await self.renew()
            except Fenced:
                encoder = await self._initialize(Producer(*NO_PRODUCER))
        return encoder

    async def renew(self) -> Encoder:
        """Take the next epoch, so that no request of an epoch before is carried out any more.

        Raises:
            Fenced: there is a newer owner.
            Unavailable: no coordinator answers.
        """
        return await self._initialize(self._producer)

    async def _initialize(self, producer: Producer) -> Encoder:
        form = init_producer_id(self.name, self._cluster.longest_transaction, producer)

        def take(answer: Any) -> None:
            self._check(answer.error_code, "opening")
            self._producer = Producer(answer.producer_id, answer.producer_epoch)

        if producer != NO_PRODUCER:
            # Set again by an attempt that gets no answer: one epoch more, the next time.
            self._unanswered = self._producing.unanswered = False
        await self._ask("opening", "transaction", self.name, form, take)
        return Encoder(self._producer, self._cluster.options.compression, transactional=True)

    async def committed(self, group: str, position: TopicPartition, deadline: float) -> int | None:
        """Return the offset that a group is to read next, as every older owner has left it.

        A coordinator that was paused, and has not heard yet that there is another, would answer from the past. So one
        is asked that has just stored something for us, on all of its replicas in sync: the offset of a transaction
        that is then aborted. Older owners are fenced by then, so nothing can be committed that it does not have.
        """
        request = offset_fetch(group, *position)

        async def attempt() -> int:
            await self._add_offsets(group, deadline)
            self.began = True
            await self._commit_offsets(group, {position: 0}, deadline)
            coordinator = self._known.get(("group", group))
            await self.end(deadline, commit=False)
            if coordinator is None:
                raise Moved(f"{self.name}: the coordinator of group {group} has changed")
            code, offset = await self._fetch_offset(coordinator, request)
            while code == UNSTABLE_OFFSET_COMMIT:  # until the marker of our own abort is written
                await self._cluster.clock.sleep(_PAUSE)
                code, offset = await self._fetch_offset(coordinator, request)
            self._check(code, doing)
            return offset

        doing = f"asking how far group {group} is"
        offset = await self._cluster.persist(f"{self.name}: {doing}", attempt, deadline)
        return None if offset == _NOTHING_SETTLED else offset

    async def _fetch_offset(self, coordinator: Broker, request: Any) -> tuple[int, int]:
        answer = await self._coordinators.send(coordinator, request)
        if answer.error_code != NONE:
            return answer.error_code, _NOTHING_SETTLED
        [[_, [[_, offset, _, _, code, _]], _]] = answer.topics
        return code, offset

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
        request = end_txn(self.name, self._producer, commit=commit)

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
        partitions = [(batch.topic, batch.partition) for batch in batches]
        request = add_partitions_to_txn(self.name, self._producer, partitions)

        def take(answer: Any) -> None:
            self._check_each(answer.errors, "adding")

        await self._ask("adding partitions", "transaction", self.name, request, take, deadline)

    async def _add_offsets(self, group: str, deadline: float) -> None:
        request = add_offsets_to_txn(self.name, self._producer, group)

        def take(answer: Any) -> None:
            self._check(answer.error_code, f"adding the offsets of {group}")

        await self._ask("adding offsets", "transaction", self.name, request, take, deadline)

    async def _commit_offsets(self, group: str, offsets: Mapping[TopicPartition, int], deadline: float) -> None:
        request = txn_offset_commit(self.name, self._producer, group, offsets)

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
        kind: CoordinatorKind,
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
            except (*LOST_CONNECTION, Moved) as exc:
                # Two requests to one coordinator may fail together, and the second may already know its successor.
                if self._known.get((kind, key)) == broker:
                    del self._known[kind, key]
                self._unanswered |= not isinstance(exc, Moved)
                raise

        return await self._cluster.persist(f"{self.name}: {doing}", attempt, deadline)
