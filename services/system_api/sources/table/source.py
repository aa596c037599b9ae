"""A table as a source, in any database. A poll observes the horizon, reads rows, and emits the new ones."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, runtime_checkable

from services.system_api.sources.source import Batch, Checkpoint
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow, NullKeyRows
from services.system_api.sources.table.rereading import Rereading
from services.system_api.sources.table.rows import RowEvents
from shared.errors import Malformed, Unavailable
from shared.runtime.clock import Clock

_STALL_TIMEOUT = 5.0
"""Seconds without a final row after which the source is reported as degraded."""
_NULL_KEY_INTERVAL = 5.0
"""Seconds between two searches for rows without a key."""
_NULL_KEY_SHARE = 20
"""Minimum time between two searches, as a multiple of the time that the last one took."""
_MIN_PAUSE = 0.01
"""Minimum seconds between two polls, and at least as long as the last one took: however often the database notifies, it
is queried for at most half of the time."""
_MAX_BYTES = 16 * 1_048_576
"""Approximate maximum size of the rows of one poll."""
_MAX_ROWS = 4000
"""Maximum number of rows of one poll: to make events of more would keep the event loop for more than 50 ms."""
_FIRST_ROWS = 256
"""Maximum number of rows of the first poll, when their size is unknown: a database makes JSON of all of them."""


class TableReader(Protocol[Order]):
    """Reads one table.

    Every method may raise `Unavailable`, and works again when it is called again.
    """

    async def observe(self) -> Order | None:
        """Return the horizon: a row below it that is not visible to the next call of `rows` never will be."""
        ...

    async def rows(
        self, limit: int, max_bytes: int, ledger: Ledger[Order], below: Order | None
    ) -> tuple[list[Row[Order]], bool]:
        """Return the rows above the ledger's position, in order, and whether these are all (of those below `below`).

        At most `limit` rows, and no more once they have about `max_bytes` bytes.
        """
        ...

    async def null_key_rows(self, known: frozenset[str], timeout: float, /) -> Sequence[NullKeyRow]:
        """Return the rows without a key or order value, at most one more than `LIMIT`; `known` are digests.

        Raises:
            Unavailable: also if it takes longer than `timeout` seconds: without an index for it the whole table is
                read, and rows with a key wait meanwhile.
        """
        ...

    def holder(self) -> str | None:
        """Describe the open transactions that hold the horizon back; None if none are known."""
        ...

    def problem(self, ledger: Ledger[Order], /) -> str | None:
        """Return why rows of the table cannot be read, None if all can."""
        ...

    def warning(self) -> str | None:
        """Return what is wrong with the table while all of its rows are read; None if nothing."""
        ...


@runtime_checkable
class TimedReader(Protocol):
    """Readers of databases that know where a time is in the order of rows."""

    async def order_at(self, time: datetime) -> Any:
        """Return the order value of a time. Raises `Malformed` or `Unavailable`."""
        ...


@runtime_checkable
class CountingReader(Protocol):
    """Readers of databases that can count rows by time."""

    async def count_between(self, since: datetime, until: datetime) -> int:
        """Return how many rows have a time within [since, until). Raises `Malformed` or `Unavailable`."""
        ...


class ChangeSignal:
    """Set when the database notifies of a change."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def set(self) -> None:
        """Note that there may be something new."""
        self.event.set()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a table source."""

    early_limit: int
    """Maximum number of rows that are remembered above the horizon."""
    null_key_timeout: float
    """Seconds that a search for rows without a key may take."""


@dataclass(frozen=True, slots=True)
class Memory(Generic[Order]):
    """What is saved in the checkpoint."""

    ledger: Ledger[Order]
    null_key_rows: NullKeyRows
    rereading: Rereading[Order]


class TableSource(Generic[Order]):
    """A `Source` of one table."""

    def __init__(
        self,
        reader: TableReader[Order],
        memory: Memory[Order],
        events: RowEvents[Order],
        signal: ChangeSignal,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._reader: TableReader[Order] = reader
        self._ledger: Ledger[Order] = memory.ledger
        self._null_key_rows = memory.null_key_rows
        self._rereading: Rereading[Order] = memory.rereading
        self._events: RowEvents[Order] = events
        self._early_limit = limits.early_limit
        self._null_key_timeout = limits.null_key_timeout
        self._clock = clock
        self._horizon: Order | None = None
        self._moved_at = clock.monotonic()
        self._behind = False
        self._row_size = 0
        """Mean size of a row in bytes; 0 if it is unknown."""
        self._null_key_due = clock.monotonic()
        self._null_key_failures = 0
        self._null_key_error: str | None = None
        self._signal = signal
        self._pause_until = clock.monotonic()

    async def poll(self, limit: int) -> Batch:
        """Return rows that were not emitted yet; see `Source`."""
        began = self._clock.monotonic()
        self._signal.event.clear()
        ledger, reader = self._ledger, self._reader
        if not self._behind:
            # While the rows read are all below the horizon, a newer horizon would not help.
            self._observed(await reader.observe())
        horizon, held_back = self._horizon, len(ledger.emitted) >= self._early_limit
        most = max(1, _MAX_BYTES // self._row_size) if self._row_size else _FIRST_ROWS
        limit = min(limit, _MAX_ROWS, most)
        rows: list[Row[Order]] = []
        complete = True
        if not held_back or horizon is not None:
            rows, complete = await reader.rows(limit, _MAX_BYTES, ledger, horizon if held_back else None)
        null_key_rows = await self._find_null_key_rows()
        # After the rows that follow: the state of a row is never older than one that was published.
        again = await self._reread(limit - len(rows)) if complete else None
        # Nothing is awaited from here on: a failure before this has changed no state.
        self._behind = not complete and bool(rows) and horizon is not None and rows[-1].order < horizon
        if rows:
            self._row_size = max(1, sum(len(row.data) for row in rows) // len(rows))
        fresh, saved = ledger.take(rows, horizon, complete=complete)
        batch = Batch(checkpoint=saved, more=not complete, whole=True, rows=len(rows), skipped=len(rows) - len(fresh))
        self._events.add(fresh, batch)
        batch.rows = len(rows)
        if again is not None:
            self._events.add(again[0], batch)
            batch.checkpoint |= self._rereading.reached(again[0], complete=again[1])
            batch.rows += len(again[0])
        batch.more = batch.more or self._rereading.ledger is not None
        if null_key_rows is not None:
            rejected, part = self._null_key_rows.take(null_key_rows)
            self._events.reject_null_key_rows(rejected, batch)
            batch.rows += len(null_key_rows)
            batch.skipped += len(null_key_rows) - len(rejected)
            batch.checkpoint |= part
        problems: tuple[str, ...] = tuple(self._problem(held_back=held_back))
        batch.waiting = problems or ((self._held_back(),) if held_back else ())
        warning = reader.warning()
        batch.problems = problems if warning is None else (*problems, warning)
        now = self._clock.monotonic()
        self._pause_until = now + max(_MIN_PAUSE, now - began)
        return batch

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`. At the beginning, rows without a key are unknown again."""
        if place == "beginning":
            return {}
        if place == "end":
            order = await self._reader.observe()
            if order is None:
                raise Malformed("the table has no row yet that could be its end")
        elif isinstance(self._reader, TimedReader):
            order = await self._reader.order_at(place)
        else:
            raise Malformed("this database has no times of rows; expected beginning, end or a position")
        return self._ledger.checkpoint_at(order) | self._null_key_rows.saved()

    async def snapshot(self) -> dict[str, bytes | None]:
        """Begin to publish again all rows that are there, with their ids; see `Snapshotting`."""
        return self._ledger.saved() | self._rereading.begin()

    async def count(self, since: datetime, until: datetime) -> int:
        """Return how many rows changed last within [since, until); see `Countable`."""
        if not isinstance(self._reader, CountingReader):
            raise Malformed("rows of this database cannot be counted by time")
        return await self._reader.count_between(since, until)

    def entity(self, position: str) -> str:
        """Return the key of the row of an event: the position without the row's version."""
        return position.rpartition("@")[0] or position

    async def wait_for_change(self) -> None:
        """Return when the database has notified of a change."""
        await self._signal.event.wait()
        if (rest := self._pause_until - self._clock.monotonic()) > 0:
            await self._clock.sleep(rest)

    async def _reread(self, limit: int) -> tuple[list[Row[Order]], bool] | None:
        """Return the next rows of a snapshot, and whether these are all; None if there is none in progress."""
        ledger = self._rereading.ledger
        return None if ledger is None else await self._reader.rows(max(1, limit), _MAX_BYTES, ledger, None)

    def _observed(self, horizon: Order | None) -> None:
        # A row that was final stays final, even if a reader that has reconnected does not know it yet.
        if horizon is not None and (self._horizon is None or horizon > self._horizon):
            self._horizon = horizon
            self._moved_at = self._clock.monotonic()

    async def _find_null_key_rows(self) -> Sequence[NullKeyRow] | None:
        began = self._clock.monotonic()
        if began < self._null_key_due or self._behind:
            return None
        found = None
        try:
            found = await self._reader.null_key_rows(self._null_key_rows.known, self._null_key_timeout)
        except Unavailable as exc:
            self._null_key_failures += 1
            if self._null_key_failures == 1:
                raise  # the retry tells whether the whole database is unavailable
            # Only this search fails or takes too long: do not delay the other rows for it.
            self._null_key_error = str(exc)
        else:
            self._null_key_failures, self._null_key_error = 0, None
        now = self._clock.monotonic()
        self._null_key_due = now + max(_NULL_KEY_INTERVAL, _NULL_KEY_SHARE * (now - began))
        return found

    def _problem(self, *, held_back: bool) -> list[str]:
        found: list[str] = []
        if held_back and self._clock.monotonic() - self._moved_at > _STALL_TIMEOUT:
            found.append(self._held_back())
        if self._null_key_rows.overflowing:
            found.append(
                f"more than {LIMIT} rows have no key or no time: no more are dead-lettered until some are corrected"
            )
        if self._null_key_error is not None:
            found.append(f"cannot search for rows without a key or a time: {self._null_key_error}")
        problem = self._reader.problem(self._ledger)
        return found if problem is None else [*found, problem]

    def _held_back(self) -> str:
        holder = self._reader.holder()
        why = "rows are not final yet" if holder is None else f"a transaction stays open ({holder})"
        return (
            f"{why}, and early_limit ({self._early_limit}) rows were read that may be followed by lower ones:"
            " only final rows are read until then"
        )
