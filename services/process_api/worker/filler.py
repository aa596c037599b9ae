"""Fills batches: reads the records that wait, runs the pipelines on them, and yields to other tasks in between."""

from collections.abc import Callable, Collection, Mapping, Sequence

from pydantic import Field

from services.process_api.operations.gate import Gate
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.outcome import Blocked
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.running import RunningState
from services.process_api.state.store import Size
from services.process_api.worker.batch import Batch
from services.process_api.worker.pace import Pace
from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.running import RunningPipelines, running_state
from services.process_api.worker.turns import SLEEP_AFTER_SLOW, YIELD_AFTER, Turns
from shared.bus.protocol import RECORD_LIMIT, Reader, Record, TopicPartition
from shared.errors import PositionLost
from shared.runtime.clock import Clock
from shared.settings import Options
from shared.suspension.greenlets import resumed, suspendable


class TransactionOptions(Options):
    """How much one transaction holds at most. A transaction ends earlier as soon as no more input waits."""

    events: int = Field(default=1000, ge=1, le=100_000)
    """Events that are read for one transaction. More than a thousand gain little."""

    bytes: int = Field(default=4_194_304, ge=1)
    """Bytes of the events that one transaction publishes: above it, no more are read."""

    seconds: float = Field(default=0.1, gt=0)
    """How long a transaction is filled: the longest that its first event waits for its last one."""


class Filler:
    """Makes batches of the records of one reader."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each from another part
        self,
        reader: Reader,
        selection: Callable[[], Selection],
        poison: PoisonTracker,
        options: TransactionOptions,
        reporter: Reporter,
        pace: Pace,
        clock: Clock,
        *,
        event_limit: int = RECORD_LIMIT,
        state: PartitionState | None = None,
        gate: Gate | None = None,
    ) -> None:
        """`selection` returns the pipelines for the next batch; one batch has the same ones throughout.

        `event_limit` is the bytes of the largest event for subscribers. `state` is needed where a pipeline keeps any.
        Without a `gate`, all pipelines run on all records.
        """
        self._gate = gate
        self._running = None if state is None else RunningPipelines(state)
        self._event_limit = event_limit
        (self._partition,) = reader.positions
        self._reader = reader
        self._selection = selection
        self._poison = poison
        self._pace = pace
        self._options = options
        self._report = reporter
        self._clock = clock
        self._yielded_at = clock.monotonic()
        self._state: RunningState | None = None
        self._pending: Sequence[Record] = ()
        """Read, and not run yet."""
        self.isolated = False
        """Whether the last batch is one record that has to be committed before another is read."""
        self.blocked_by: Blocked | None = None
        """What a step waits for; the records from there on are not in the last batch."""

    @property
    def sizes(self) -> Mapping[tuple[str, str], Size]:
        """How much state each step has committed in the partition, by pipeline and place."""
        return {} if self._running is None else self._running.sizes

    async def fill(self, idle: float | None = None) -> tuple[Batch, float]:
        """Wait for input; return the batch, and when its first record was read.

        A batch ends as soon as no more input waits, or at one of the limits. An isolated record is a batch of its own,
        and so is the one at which the batch before was blocked. Where results are due before there is input, or none
        comes for `idle` seconds, the batch has no record.

        Raises:
            StateMissing: a pipeline keeps state, and none did before.
        """
        self.isolated = self._poison.is_isolated(self.next_offset)
        # Those behind a record that waits would run again at each attempt, and send their requests again.
        alone = self.isolated or (self.blocked_by is not None and bool(self._pending))
        limit = 1 if alone else self._options.events
        due = self._wait()
        records = await self._read(limit, idle if due is None else due)
        # After the wait, in which the pipelines may be replaced.
        selection = self._selection()
        with selection.used():
            return await suspendable(self._filled(selection, records, limit))

    async def _filled(self, selection: Selection, records: Sequence[Record], limit: int) -> tuple[Batch, float]:
        """Return a batch of these pipelines that begins with these records."""
        self._state = running_state(self._running, selection)
        batch = Batch(selection, self._poison, self._event_limit, self._closed_gate(records, selection))
        if self._gate is not None:
            batch.rewinds = self._gate.rewinds
        began = self._clock.monotonic()
        self.blocked_by = None
        if not records:
            await self._tick(batch, began)
        while records:
            try:
                await self._run(batch, records, began)
            except Blocked as exc:
                self.blocked_by = exc
                if not batch.count:
                    await self._add_due(batch, began, records[0])
                break
            left = limit - batch.count
            if left <= 0 or self._full(batch, self._clock.monotonic() - began):
                break
            records = await self._read(left, 0)
        return batch, began

    def _wait(self) -> float | None:
        """Return the seconds after which there is something to do without input; None for never."""
        if self._running is None:
            return None
        # A result that was held has to come again, with input or without.
        if self.blocked_by is not None:
            return 0
        return self._running.wait(self._paused)

    @property
    def _paused(self) -> Collection[str]:
        return () if self._gate is None else self._gate.paused

    def _closed_gate(self, records: Sequence[Record], selection: Selection) -> Gate | None:
        """Return the gate, if it may matter for these records and those behind them."""
        if self._gate is None or selection.divided:
            return self._gate
        first = records[0].offset if records else self.next_offset
        return None if self._gate.passes_all(first) else self._gate

    async def _tick(self, batch: Batch, began: float) -> None:
        """Add what the time has made due, while no record waits."""
        self.blocked_by = await self._add_due(batch, began, None)

    async def _add_due(self, batch: Batch, began: float, waiting: Record | None) -> Blocked | None:
        """Add what the time has made due, as much as fits into a transaction; return what a result waits for.

        While a record is `waiting`, other pipelines than the one that holds it go on: by the time of records, with what
        was due before this one. The rest follows once it has passed.
        """
        state, running, turns = self._state, self._running, Turns(self._clock)
        if state is None or running is None:
            return None
        held: Blocked | None = None
        while True:
            if waiting is None:
                state.at_no_record()
            else:
                state.before_record(waiting.timestamp)
            before = state.results
            try:
                await batch.add_due(self._scope(turns), self.next_offset - 1)
            except Blocked as exc:
                held = exc
            # Behind a record or a result that waits, something may stay due.
            more = state.results > before if held or waiting else running.is_due(self._paused)
            if not more or self._full(batch, self._clock.monotonic() - began):
                return held
            await turns.breathe()

    def _scope(self, turns: Turns) -> Scope:
        return Scope(TopicPartition(self._reader.topic, self._partition), turns, self._state, self._report.step_timer)

    @property
    def next_offset(self) -> int:
        """The offset of the first record that is not in a batch yet."""
        return self._pending[0].offset if self._pending else self._reader.positions[self._partition]

    def _full(self, batch: Batch, seconds: float) -> bool:
        return batch.size >= self._options.bytes or seconds >= self._options.seconds

    async def _read(self, limit: int, wait: float | None) -> Sequence[Record]:
        """Return at most `limit` records, those that are pending first."""
        found, self._pending = self._pending, ()
        while not found:
            try:
                found = await self._reader.read(limit, wait)
            except PositionLost as exc:
                self._report.position_lost(exc)
                self._reader.seek(exc.partition, exc.earliest)
            else:
                break
        if len(found) > limit:
            found, self._pending = found[:limit], found[limit:]
        return found

    async def _run(self, batch: Batch, records: Sequence[Record], began: float) -> None:
        """Add records to the batch up to its limits; the others are pending.

        Raises:
            Blocked: a step waits for something; its record is the first that is pending.
        """
        before = batch.count
        try:
            if batch.waits:
                await self._run_together(batch, records)
            else:
                await self._run_in_slices(batch, records, began)
        finally:
            added = batch.count - before
            self._report.ran(batch, records[:added])
            self._pending = [*records[added:], *self._pending]

    async def _run_in_slices(self, batch: Batch, records: Sequence[Record], began: float) -> None:
        start, before = 0, self._clock.monotonic()
        while start < len(records):
            some, number = records[start : start + self._pace.slice], resumed()
            start += batch.add(some, None if batch.count else self._report.step_timer)
            now = self._clock.monotonic()
            # Where an evaluation apart took long, other tasks ran meanwhile.
            took = now - before if resumed() == number else 0.0
            slow = self._pace.note(took)
            if len(some) == 1:
                self._poison.note_slow(some[0], took)
            if now - self._yielded_at > YIELD_AFTER:
                await self._clock.sleep(SLEEP_AFTER_SLOW if slow else 0)
                self._yielded_at = now = self._clock.monotonic()
            before = now
            if self._full(batch, now - began):
                break

    async def _run_together(self, batch: Batch, records: Sequence[Record]) -> None:
        """Run records whose steps wait: as many as fit into a transaction, or one while some are slow."""
        some = self._fitting(records)
        turns = Turns(self._clock)
        try:
            await batch.add_waiting(some, self._scope(turns))
        finally:
            self._pace.note(turns.longest)
            if len(some) == 1:
                self._poison.note_slow(some[0], turns.longest)

    def _fitting(self, records: Sequence[Record]) -> Sequence[Record]:
        if self._pace.slice == 1:
            return records[:1]
        size = 0
        for number, record in enumerate(records):
            if size >= self._options.bytes:
                return records[:number]
            size += len(record.value or b"")
        return records
