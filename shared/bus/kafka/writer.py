"""The writer: two transactional ids take turns, so that one transaction fills while the one before it commits.

A transaction that follows another of the same id has to wait until that one's markers are written; with two ids there
is always one whose markers are done. Records of a transaction are written after all records of the one before it, and
it is committed after that one is: so order is kept within each partition, and none is visible after one that failed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from itertools import cycle

from shared.bus.kafka.batches import Batch, Encoder, by_partition
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.transactional import TransactionalId
from shared.bus.protocol import IN_FLIGHT, TopicPartition, Transaction
from shared.errors import Fenced, TrelayError, Unavailable
from shared.runtime.failpoints import reach
from shared.runtime.tasks import Tasks, together

_LEAVING = 1.0
"""Seconds that requests under way are given to be answered when the writer is left, and that the aborting of what they
began may take: readers of its partitions would wait for it otherwise."""


class _Step:
    """Something a transaction does, which the next transaction waits for."""

    def __init__(self, error: TrelayError | None = None) -> None:
        self._ended = asyncio.Event()
        self._error = error

    def end(self, error: TrelayError | None = None) -> None:
        """It is done, or will never be."""
        if not self._ended.is_set():
            self._error = error
            self._ended.set()

    async def ended(self) -> None:
        """Wait for it.

        Raises:
            Fenced, Unavailable: it was not done, so that what waits must not be either.
        """
        await self._ended.wait()
        if self._error is not None:
            raise _consequence(self._error) from self._error


class _Progress:
    """How far one transaction is."""

    def __init__(self) -> None:
        self.written = _Step()
        self.committed = _Step()
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """What the submitter was given; nothing else depends on it, for he may cancel it."""

    def succeed(self) -> None:
        """It is committed."""
        self.written.end()
        self.committed.end()
        if not self.told.done():
            self.told.set_result(None)

    def fail(self, error: TrelayError) -> None:
        """It is not, and nothing after it will be."""
        self.written.end(error)
        self.committed.end(error)
        if not self.told.done():
            self.told.set_exception(error)
            self.told.exception()  # counts as looked at: nobody has to await it


class KafkaWriter:
    """A `Writer`."""

    def __init__(self, name: str, cluster: Cluster, owned: list[tuple[TransactionalId, Encoder]], tasks: Tasks) -> None:
        self._name = name
        self._cluster = cluster
        self._owned = [owner for owner, _ in owned]
        self._turns = cycle(self._owned)
        self._encoders = dict(owned)
        self._tasks = tasks
        self._submitting = asyncio.Lock()
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._under_way: set[asyncio.Task[None]] = set()
        self._finished: TrelayError | None = None
        self._left = False
        self._last = _Progress()
        self._last.succeed()

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Encode a transaction and send it on its way."""
        async with self._submitting:
            return await self._submit(transaction)

    async def commit(self, transaction: Transaction) -> None:
        """Submit, and wait."""
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset a group is to read next."""
        deadline = self._cluster.clock.monotonic() + self._cluster.options.patience
        async with self._submitting:
            self._check_usable()
            try:
                return await self._owned[0].committed(self._cluster.identity(group), position, deadline)
            except TrelayError as exc:
                self._finish(exc)
                raise

    async def leave(self) -> None:
        """Begin nothing more, and give what was asked a moment to be answered."""
        self._left = True
        self._finish(Unavailable(f"writer {self._name} was closed"))
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_LEAVING)

    async def _submit(self, transaction: Transaction) -> Awaitable[None]:
        await self._slots.acquire()
        try:
            self._check_usable()
            owner = next(self._turns)
            if owner.doubtful:
                # The transaction before last, which was this owner's, has ended: its slot was needed.
                self._encoders[owner] = await owner.renew()
            batches = await self._encode(self._encoders[owner], transaction)
        except BaseException as exc:
            self._slots.release()
            if isinstance(exc, TrelayError):
                self._finish(exc)
            raise
        before, self._last = self._last, _Progress()
        work = self._carry_out(owner, transaction, batches, before, self._last)
        task = self._tasks.start(f"transaction of {self._name}", work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return self._last.told

    async def _encode(self, encoder: Encoder, transaction: Transaction) -> list[Batch]:
        now = int(self._cluster.clock.time() * 1000)
        batches: list[Batch] = []
        for name, records in transaction.records.items():
            if records:
                topic = await self._cluster.topic(name)
                for partition, dealt in by_partition(records, len(topic.leaders)).items():
                    batches += encoder.encode(name, partition, dealt, now)
        return batches

    async def _carry_out(
        self, owner: TransactionalId, transaction: Transaction, batches: list[Batch], before: _Progress, mine: _Progress
    ) -> None:
        try:
            await before.written.ended()
            self._check_left()
            deadline = self._cluster.clock.monotonic() + self._cluster.options.patience
            await owner.write(transaction, batches, deadline)
            mine.written.end()
            reach("bus.written")
            await before.committed.ended()
            self._check_left()
            if owner.began:
                await owner.end(deadline, commit=True)
            reach("bus.committed")
            mine.succeed()
        except TrelayError as exc:
            self._finish(exc)
            mine.fail(exc)
        except BaseException:
            error = Unavailable(f"writer {self._name}: stopped in the middle of a transaction")
            self._finish(error)
            mine.fail(error)
            raise
        finally:
            self._slots.release()

    def _check_usable(self) -> None:
        if self._finished is not None:
            raise _consequence(self._finished) from self._finished

    def _check_left(self) -> None:
        if self._left:
            raise Unavailable(f"writer {self._name} was closed")

    def _finish(self, error: TrelayError) -> None:
        if self._finished is None:
            self._finished = error


@asynccontextmanager
async def kafka_writer(cluster: Cluster, name: str) -> AsyncIterator[KafkaWriter]:
    """Own both transactional ids of a name for as long as the context lasts."""
    ids = [TransactionalId(cluster, f"{cluster.identity(name)}-{turn}") for turn in "ab"]
    try:
        # Both before anybody reads a checkpoint: only then is all decided that an older owner had under way.
        encoders = await together(*(owned.open() for owned in ids))
        async with Tasks() as tasks:
            writer = KafkaWriter(name, cluster, list(zip(ids, encoders, strict=True)), tasks)
            try:
                yield writer
            finally:
                await writer.leave()
    finally:
        await together(*(_close(cluster, owned) for owned in ids))


async def _close(cluster: Cluster, owned: TransactionalId) -> None:
    try:
        if owned.began and not owned.abandoned:
            with suppress(TrelayError, TimeoutError):
                async with asyncio.timeout(_LEAVING):
                    await owned.end(cluster.clock.monotonic() + _LEAVING, commit=False)
    finally:
        await owned.close()


def _consequence(error: TrelayError) -> TrelayError:
    """Return what a transaction fails with because of one before it: what was wrong with that is not wrong with it."""
    if isinstance(error, Fenced):
        return Fenced(str(error))
    return Unavailable(f"a transaction before this one failed: {error}")
