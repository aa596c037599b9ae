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

from services.process_api.operations.controls import Controls, RewindAsked
from services.process_api.operations.gate import Ahead, Gate, Paused
from services.process_api.operations.hold import Hold
from services.process_api.operations.starts import Starts
from services.process_api.operations.statuses import Held, PartitionStatus, StateSize
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.outcome import Blocked
from services.process_api.state.memory import MemoryStores
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.store import Stores
from services.process_api.worker.batch import Batch
from services.process_api.worker.commits import Commits
from services.process_api.worker.filler import Filler, TransactionOptions
from services.process_api.worker.pace import Pace
from services.process_api.worker.poison import Attempts, PoisonTracker, SlowRecords
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.rewinds import Rewinds
from services.process_api.worker.running import StateMissing
from shared.bus.protocol import Bus, Reader, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from shared.runtime.clock import Clock
from shared.runtime.tasks import cancel_requested

_CONFIRM_INTERVAL = 10.0
"""Seconds between two marks in the store: so much of the changelog is read again after a crash."""

_PAUSED_INTERVAL = 2.0
"""Seconds between two looks at a pipeline that is paused: a reload may have removed it."""

_IDLE = 2.0
"""Seconds without input after which the markers that end transactions are committed as processed, too: then the offset
of the group is the end of the partition, and watermarks and lag show that nothing is left."""

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
        controls: Controls | None = None,
    ) -> None:
        """`selection` returns the pipelines for the next batch; `stores` keep the state of those that have any.

        `controls` are what operators ask of pipelines.
        """
        self._controls = controls or Controls(topics.pipelines, clock)
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
        self.held: dict[TopicPartition, Held] = {}
        """The partitions that are held here, because a step waits for something, or a pipeline is paused."""
        self._assigned: dict[int, float] = {}
        self._fillers: dict[int, Filler] = {}
        self._ahead: dict[int, int] = {}
        """By partition: the offset at which a run met a rewind that it had not carried out."""
        self.group = group_of(topics)
        """The consumer group whose offsets are committed."""

    @property
    def positions(self) -> Mapping[int, int]:
        """The next offset of each partition that runs here."""
        return {number: reader.positions[number] for number, reader in self._readers.items()}

    @property
    def partitions(self) -> dict[int, PartitionStatus]:
        """What this replica does, by partition."""
        held = {position.partition: held for position, held in self.held.items()}
        return {
            number: PartitionStatus(at, self._assigned[number], held.get(number), self._state_of(number))
            for number, at in self.positions.items()
        }

    def _state_of(self, number: int) -> list[StateSize]:
        filler = self._fillers.get(number)
        sizes = {} if filler is None else filler.sizes
        return [StateSize(pipeline, step, *size) for (pipeline, step), size in sizes.items()]

    async def run_partition(self, reader: Reader) -> None:
        """Process one partition until cancelled.

        Raises:
            Unavailable: the bus does not answer.
            Fenced: a newer owner runs this partition.
            TooLarge: the bus refuses even the dead letter of a record.
        """
        ((number, beginning),) = reader.positions.items()
        poison = PoisonTracker(self._slow.setdefault(number, {}), self._attempts.setdefault(number, Attempts()))
        self._readers[number], self._assigned[number] = reader, self._clock.time()
        try:
            while True:
                await self._run_writer(reader, TopicPartition(reader.topic, number), beginning, poison)
        except asyncio.CancelledError:
            self._stores.release(number)
            raise
        finally:
            if self._readers.get(number) is reader:
                del self._readers[number]
                self._fillers.pop(number, None)
                self.held.pop(TopicPartition(reader.topic, number), None)

    async def _run_writer(
        self, reader: Reader, position: TopicPartition, beginning: int, poison: PoisonTracker
    ) -> None:
        """Resume at the committed offset; return when a transaction was too large and its records are isolated."""
        async with self._bus.writer(f"process.{position.partition}") as writer:
            committed = await writer.committed(self.group, position)
            first = beginning if committed is None else committed
            selection = self._selection()
            state = await self._restored(position, first) if selection.stateful else None
            rewinds = Rewinds(self._bus, self._topics, self.group, self._controls, self._report)
            first, starts = await rewinds.carry_out(writer, position, first, selection, state)
            reader.seek(position.partition, first)
            poison.attempts.begin(first)
            commits = Commits(writer, lambda batch, began: self._committed(position, batch, began), state)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(commits.follow(), name=f"commits of {reader.topic}/{position.partition}")
                    if state is not None:
                        tasks.create_task(self._confirm(state), name=f"state of {reader.topic}/{position.partition}")
                    asked = self._controls.rewind_asked(self._names, position.partition, starts)
                    tasks.create_task(asked, name=f"rewinds of {reader.topic}/{position.partition}")
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
                        gate=self._gate(starts, position.partition),
                    )
                    self._fillers[position.partition] = filler
                    await self._fill_and_submit(filler, commits, position, poison.attempts, state)
            except ExceptionGroup as failed:
                if cancel_requested():
                    raise asyncio.CancelledError from failed
                error = _decisive(failed)
                if isinstance(error, Ahead):
                    self._ahead[position.partition] = error.offset
                if isinstance(error, StateMissing | RewindAsked | Ahead):
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
        committed, idle = filler.next_offset, True
        while True:
            batch, began = await filler.fill(_IDLE if idle else None)
            if (held := hold.passed(self._clock.monotonic())) is not None:
                self._report.held(*held)
            made = batch.outputs or batch.forwarded or batch.rejects
            offset = batch.last + 1 if batch.count else filler.next_offset
            behind = not batch.count and filler.blocked_by is None and offset > committed
            idle = bool(batch.count) or filler.blocked_by is not None
            if batch.count or made or behind or (state is not None and state.changed):
                committed = offset
                if not batch.count:
                    await commits.drain()
                transaction = batch.transaction(self._topics, self.group, position, offset)
                if state is not None:
                    transaction.placed[state.place] = state.seal(offset)
                await commits.submit(batch, transaction, began)
                if batch.count or filler.blocked_by is None:
                    hold.end()
            if (blocked := filler.blocked_by) is None:
                self.held.pop(position, None)
            else:
                self._hold(position, blocked)
                await commits.drain()
                if isinstance(blocked, Paused):
                    hold.end()
                    self._report.paused_by_operator(position)
                    await self._controls.changed(_PAUSED_INTERVAL)
                else:
                    hold.begin(blocked, self._clock.monotonic())
                    self._report.paused(position, str(blocked), blocked)
                    await self._clock.sleep(hold.wait(self._rng.random()))
                attempts.begin(filler.next_offset)
            if filler.isolated:
                await commits.drain()

    def _gate(self, starts: Starts, number: int) -> Gate:
        return Gate(starts, lambda: self._controls.paused, self._ahead.get(number, -1), number)

    def _names(self) -> list[str]:
        return [pipeline.name for pipeline in self._selection().pipelines]

    def _hold(self, position: TopicPartition, blocked: Blocked) -> None:
        known = self.held.get(position)
        same = known is not None and (known.pipeline, known.step) == (blocked.pipeline, blocked.place)
        since = known.since if known is not None and same else self._clock.time()
        self.held[position] = Held(blocked.pipeline, blocked.place, str(blocked), since)

    def _committed(self, position: TopicPartition, batch: Batch, began: float) -> None:
        self._report.committed(position, batch, self._clock.monotonic() - began, self.group)


def group_of(topics: TopicsOptions) -> str:
    """Return the name of the consumer group of the process layer."""
    return topics.process_group


def _decisive(failed: ExceptionGroup[Exception]) -> Exception:
    """Return the error that decides what happens next: a newer owner before all others, then a record too large."""
    for kind in (Fenced, TooLarge):
        for error in failed.exceptions:
            if isinstance(error, kind):
                return error
    return failed.exceptions[0]
