"""Fills batches: reads what waits, runs it, and lets others have their turn."""

import asyncio
from collections.abc import Sequence

from pydantic import Field

from services.process_api.batch import Batch
from services.process_api.oversize import Oversize
from services.process_api.reporting import Reporter
from services.process_api.selection import Selection
from shared.bus.protocol import Reader, Record
from shared.clock import Clock
from shared.errors import PositionLost, Unavailable
from shared.settings import Options

_SLICE = 32
"""Records that are run before the clock is looked at."""

_TURN = 0.01
"""Seconds after which the other tasks have their turn, the bus's heartbeats among them."""


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
        oversize: Oversize,
        options: TransactionOptions,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        (self._partition,) = reader.positions
        self._reader = reader
        self._selection = selection
        self._oversize = oversize
        self._options = options
        self._report = reporter
        self._clock = clock
        self._turned = clock.monotonic()
        self.alone = False
        """Whether the last batch is one record that has to be committed before another is read."""
        self.halt: Unavailable | None = None
        """What a step waits for; the records from there on did not go into the last batch."""

    async def fill(self) -> tuple[Batch, float]:
        """Wait for input, and return what it becomes and when the first of it was read.

        Closed as soon as no more input is waiting, and when one of the bounds is reached; a record that was found too
        large comes alone.
        """
        batch = Batch(self._selection, self._oversize)
        self.alone = self._oversize.alone(self._reader.positions[self._partition])
        limit = 1 if self.alone else self._options.events
        records = await self._read(limit, None)
        began = self._clock.monotonic()
        while records:
            if self.alone and len(records) > 1:
                self._reader.seek(self._partition, records[1].offset)
                records = records[:1]
            try:
                await self._run(batch, records)
            except Unavailable as exc:
                self.halt = exc
                break
            left = limit - batch.count
            if left <= 0 or batch.size >= self._options.bytes:
                break
            if self._clock.monotonic() - began >= self._options.seconds:
                break
            records = await self._read(left, 0)
        return batch, began

    async def _read(self, limit: int, wait: float | None) -> Sequence[Record]:
        while True:
            try:
                return await self._reader.read(limit, wait)
            except PositionLost as exc:
                self._report.lost(exc)
                self._reader.seek(exc.partition, exc.earliest)

    async def _run(self, batch: Batch, records: Sequence[Record]) -> None:
        for start in range(0, len(records), _SLICE):
            batch.take(records[start : start + _SLICE], None if batch.count else self._report.watch)
            now = self._clock.monotonic()
            if now - self._turned > _TURN:
                await asyncio.sleep(0)
                self._turned = self._clock.monotonic()
