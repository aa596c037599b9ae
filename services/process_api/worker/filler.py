"""Fills batches: reads what waits, runs it, and lets others have their turn."""

from collections.abc import Sequence

from pydantic import Field

from services.process_api.pipeline.selection import Selection
from services.process_api.worker.batch import Batch
from services.process_api.worker.pace import Pace
from services.process_api.worker.poison import Suspects
from services.process_api.worker.reporting import Reporter
from shared.bus.protocol import Reader, Record
from shared.errors import PositionLost, Unavailable
from shared.runtime.clock import Clock
from shared.settings import Options

_TURN = 0.01
"""Seconds after which the other tasks have their turn, the bus's heartbeats among them."""

_REST = 0.05
"""Seconds for them after something took long: a heartbeat has an answer to wait for, and a commit several."""


class TransactionOptions(Options):
    """How much one transaction holds at most. It is closed earlier whenever no more input is waiting."""

    events: int = Field(default=1000, ge=1, le=100_000)
    """Events that are read for it. Beyond a thousand, little is gained."""

    bytes: int = Field(default=4_194_304, ge=1)
    """Bytes of the events that it publishes: above it, no more are read."""

    seconds: float = Field(default=0.1, gt=0)
    """How long it is filled: so long may what is read first wait for what is read last."""


class Filler:
    """Makes batches of what one reader gives."""

    def __init__(
        self,
        reader: Reader,
        selection: Selection,
        suspects: Suspects,
        options: TransactionOptions,
        reporter: Reporter,
        pace: Pace,
        clock: Clock,
    ) -> None:
        (self._partition,) = reader.positions
        self._reader = reader
        self._selection = selection
        self._suspects = suspects
        self._pace = pace
        self._options = options
        self._report = reporter
        self._clock = clock
        self._turned = clock.monotonic()
        self._left: Sequence[Record] = ()
        """Read, and not yet run."""
        self.alone = False
        """Whether the last batch is one record that has to be committed before another is read."""
        self.halt: Unavailable | None = None
        """What a step waits for; the records from there on did not go into the last batch."""

    async def fill(self) -> tuple[Batch, float]:
        """Wait for input, and return what it becomes and when the first of it was read.

        Closed as soon as no more input is waiting, and when one of the bounds is reached; a record that was found too
        large comes alone.
        """
        batch = Batch(self._selection, self._suspects)
        self.alone = self._suspects.alone(self._next_offset)
        limit = 1 if self.alone else self._options.events
        records = await self._read(limit, None)
        began = self._clock.monotonic()
        while records:
            try:
                await self._run(batch, records, began)
            except Unavailable as exc:
                self.halt = exc
                break
            left = limit - batch.count
            if left <= 0 or self._full(batch, self._clock.monotonic() - began):
                break
            records = await self._read(left, 0)
        return batch, began

    @property
    def _next_offset(self) -> int:
        return self._left[0].offset if self._left else self._reader.positions[self._partition]

    def _full(self, batch: Batch, seconds: float) -> bool:
        return batch.size >= self._options.bytes or seconds >= self._options.seconds

    async def _read(self, limit: int, wait: float | None) -> Sequence[Record]:
        """Return what comes next, first what was read already; at most `limit`."""
        found, self._left = self._left, ()
        while not found:
            try:
                found = await self._reader.read(limit, wait)
            except PositionLost as exc:
                self._report.lost(exc)
                self._reader.seek(exc.partition, exc.earliest)
            else:
                break
        if len(found) > limit:
            found, self._left = found[:limit], found[limit:]
        return found

    async def _run(self, batch: Batch, records: Sequence[Record], began: float) -> None:
        """Put records in, as long as there is time and room; what is left is for the next batch."""
        start, before = 0, self._clock.monotonic()
        while start < len(records):
            some = records[start : start + self._pace.slice]
            start += batch.take(some, None if batch.count else self._report.watch)
            now = self._clock.monotonic()
            slow = self._pace.ran(now - before)
            if len(some) == 1:
                self._suspects.tarried(some[0], now - before)
            if now - self._turned > _TURN:
                await self._clock.sleep(_REST if slow else 0)
                self._turned = now = self._clock.monotonic()
            before = now
            if self._full(batch, now - began):
                break
        self._left = [*records[start:], *self._left]
