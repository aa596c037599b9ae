"""Runs the pipelines over the ingest topic, one partition at a time, exactly once.

    open the writer     fences the previous owner of the partition, so that the committed offset is final
    committed offset
    seek the reader
    read → run → one transaction of outputs, dead letters and the offset; the next one fills while that one commits

A step that waits for something holds the partition: what is before its event is committed, and the event runs again
after a pause. Any error ends the run of a partition; the bus starts another, which resumes at the committed offset.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping

from services.process_api.pipeline.selection import Selection
from services.process_api.state.memory import MemoryStores
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.store import Stores
from services.process_api.worker.batch import Batch
from services.process_api.worker.commits import Commits
from services.process_api.worker.filler import Filler, TransactionOptions
from services.process_api.worker.hold import Hold
from services.process_api.worker.pace import Pace
from services.process_api.worker.poison import Attempts, PoisonTracker, SlowRecords
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.running import StateMissing
from shared.bus.protocol import Bus, Reader, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from shared.runtime.clock import Clock
from shared.runtime.tasks import cancel_requested

_CONFIRM_INTERVAL = 10.0
"""Seconds between two marks in the store: so much of the changelog is read again after a crash."""

_DRAIN_TIMEOUT = 2.0
"""Seconds a stop waits for pending commits, so that less is done again."""


class Stream:
    """Processes the partitions that the bus assigns; `run_partition` is what `Bus.join` gets."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each from another part
        self,
        bus: Bus,
        topics: TopicsOptions,
        selection: Callable[[], Selection],
        options: TransactionOptions,
        reporter: Reporter,
        clock: Clock,
        *,
        rng: random.Random | None = None,
        stores: Stores | None = None,
    ) -> None:
        """`selection` returns the pipelines for the next batch; `stores` keep the state of those that have any."""
        self._stores = stores or MemoryStores()
        self._bus = bus
        self._topics = topics
        self._selection = selection
        self._options = options
        self._report = reporter
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._pace = Pace()
        self._slow: dict[int, SlowRecords] = {}
        self._attempts: dict[int, Attempts] = {}
        self._readers: dict[int, Reader] = {}
        self.held: set[TopicPartition] = set()
        """The partitions that a step holds here, because it waits for something."""
        self.group = f"{topics.prefix}.process"
        """The consumer group whose offsets are committed."""

    @property
    def positions(self) -> Mapping[int, int]:
        """The next offset of each partition that runs here."""
        return {number: reader.positions[number] for number, reader in self._readers.items()}

    async def run_partition(self, reader: Reader) -> None:
        """Process one partition until cancelled.

        Raises:
            Unavailable: the bus does not answer.
            Fenced: a newer owner runs this partition.
            TooLarge: the bus refuses even the dead letter of a record.
        """
        ((number, beginning),) = reader.positions.items()
        poison = PoisonTracker(self._slow.setdefault(number, {}), self._attempts.setdefault(number, Attempts()))
        self._readers[number] = reader
        try:
            while True:
                await self._run_writer(reader, TopicPartition(reader.topic, number), beginning, poison)
        except asyncio.CancelledError:
            self._stores.release(number)
            raise
        finally:
            if self._readers.get(number) is reader:
                del self._readers[number]
                self.held.discard(TopicPartition(reader.topic, number))

    async def _run_writer(
        self, reader: Reader, position: TopicPartition, beginning: int, poison: PoisonTracker
    ) -> None:
        """Resume at the committed offset; return when a transaction was too large and its records are isolated."""
        async with self._bus.writer(f"process.{position.partition}") as writer:
            committed = await writer.committed(self.group, position)
            first = beginning if committed is None else committed
            reader.seek(position.partition, first)
            poison.attempts.begin(first)
            state = await self._restored(position, first) if self._selection().stateful else None
            commits = Commits(writer, lambda batch, began: self._committed(position, batch, began), state)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(commits.follow(), name=f"commits of {reader.topic}/{position.partition}")
                    if state is not None:
                        tasks.create_task(self._confirm(state), name=f"state of {reader.topic}/{position.partition}")
                    filler = Filler(
                        reader,
                        self._selection,
                        poison,
                        self._options,
                        self._report,
                        self._pace,
                        self._clock,
                        event_limit=self._topics.event_limit,
                        state=state,
                    )
                    await self._fill_and_submit(filler, commits, position, poison.attempts, state)
            except ExceptionGroup as failed:
                if cancel_requested():
                    raise asyncio.CancelledError from failed
                error = _decisive(failed)
                if isinstance(error, StateMissing):
                    return
                if not isinstance(error, TooLarge) or not poison.isolate(*commits.span, str(error)):
                    raise error from failed
                self._report.too_large(position, str(error))
            except asyncio.CancelledError:
                with contextlib.suppress(TrelayError, TimeoutError):
                    async with asyncio.timeout(_DRAIN_TIMEOUT):
                        await commits.drain()
                raise

    async def _restored(self, position: TopicPartition, offset: int) -> PartitionState:
        """Return the state of a partition as it was when `offset` was committed."""
        began = self._clock.monotonic()
        store = self._stores.store(position.partition)
        state = PartitionState(self._bus, TopicPartition(self._topics.state, position.partition), store, self._clock)
        complete = await state.restore(offset)
        self._report.restored(position, state.restored, self._clock.monotonic() - began, complete=complete)
        return state

    async def _confirm(self, state: PartitionState) -> None:
        """Note at an interval how far the changelog is; without end."""
        while True:
            await self._clock.sleep(_CONFIRM_INTERVAL)
            with contextlib.suppress(Unavailable):  # the bus reports that as its own problem
                await state.confirm()

    async def _fill_and_submit(
        self,
        filler: Filler,
        commits: Commits,
        position: TopicPartition,
        attempts: Attempts,
        state: PartitionState | None,
    ) -> None:
        hold = Hold()
        while True:
            batch, began = await filler.fill()
            if (held := hold.passed(self._clock.monotonic())) is not None:
                self._report.held(*held)
            if batch.count or batch.outputs or batch.rejects or (state is not None and state.changed):
                offset = batch.last + 1 if batch.count else filler.next_offset
                transaction = batch.transaction(self._topics, self.group, position, offset)
                if state is not None:
                    transaction.placed[state.place] = state.seal(offset)
                await commits.submit(batch, transaction, began)
                hold.end()
            if filler.blocked_by is None:
                self.held.discard(position)
            else:
                self.held.add(position)
                await commits.drain()
                hold.begin(filler.blocked_by, self._clock.monotonic())
                self._report.paused(position, str(filler.blocked_by), filler.blocked_by)
                await self._clock.sleep(hold.wait(self._rng.random()))
                attempts.begin(filler.next_offset)
            if filler.isolated:
                await commits.drain()

    def _committed(self, position: TopicPartition, batch: Batch, began: float) -> None:
        self._report.committed(position, batch, self._clock.monotonic() - began)


def _decisive(failed: ExceptionGroup[Exception]) -> Exception:
    """Return the error that decides what happens next: a newer owner before all others, then a record too large."""
    for kind in (Fenced, TooLarge):
        for error in failed.exceptions:
            if isinstance(error, kind):
                return error
    return failed.exceptions[0]
