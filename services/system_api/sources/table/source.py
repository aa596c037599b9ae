"""A table as a source, whatever database it is in: one poll observes, reads, and takes what was not emitted yet."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

from services.system_api.sources.source import Batch
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow, NullKeyRows
from services.system_api.sources.table.rows import RowEvents
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_STALL_TIMEOUT = 5.0
"""Seconds for which nothing becomes final before that is said."""
_NULL_KEY_INTERVAL = 5.0
"""Seconds between two looks for rows without a key; longer where a look takes long."""
_NULL_KEY_SHARE = 20
_MIN_PAUSE = 0.01
"""Seconds between two polls at least, and as many as the last one took: however often the database tells of news, it
is asked for no more than half of the time."""
_MEMORY = 16 * 1_048_576
"""Bytes of rows at a time, about."""


class TableReader(Protocol[Order]):
    """Reads one table.

    All may raise Unavailable, and then work when they are called again.
    """

    async def observe(self) -> Order | None:
        """Return the horizon: rows below it that are not there when it is asked for `rows` never will be."""
        ...

    async def rows(
        self, limit: int, space: int, ledger: Ledger[Order], below: Order | None
    ) -> tuple[list[Row[Order]], bool]:
        """Return what comes above the ledger's place, in order, and whether that is all there is (below `below`).

        `limit` rows at most, and no more once they have about `space` bytes.
        """
        ...

    async def null_key_rows(self, known: frozenset[str], timeout: float, /) -> Sequence[NullKeyRow]:
        """Return the rows that have no place in the order, or one more than the limit of them.

        Raises:
            Unavailable: as well if that takes longer than `patience`, in seconds. Without an index for it all of the
                table is read, and rows that have a key wait meanwhile.
        """
        ...

    def problem(self, ledger: Ledger[Order], /) -> str | None:
        """Say what is wrong with the table, if something is."""
        ...


class ChangeSignal:
    """Carries the news of a database to whoever waits for them."""

    def __init__(self) -> None:
        self.news = asyncio.Event()

    def tell(self) -> None:
        """Say that there may be something new."""
        self.news.set()


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a source may go."""

    early_limit: int
    """Rows that may be remembered above the horizon."""
    timeout: float
    """Seconds that a look for rows without a key may take."""


class TableSource(Generic[Order]):
    """A `Source`: one table."""

    def __init__(
        self,
        reader: TableReader[Order],
        ledger: Ledger[Order],
        null_key_rows: NullKeyRows,
        events: RowEvents[Order],
        signal: ChangeSignal,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._reader: TableReader[Order] = reader
        self._ledger: Ledger[Order] = ledger
        self._null_key_rows = null_key_rows
        self._events: RowEvents[Order] = events
        self._early_limit = limits.early_limit
        self._timeout = limits.timeout
        self._clock = clock
        self._horizon: Order | None = None
        self._moved_at = clock.monotonic()
        self._behind = False
        self._size = 1
        """Bytes of a row."""
        self._null_key_due = clock.monotonic()
        self._null_key_failures = 0
        self._null_key_error: str | None = None
        self._signal = signal
        self._pause_until = clock.monotonic()

    async def poll(self, limit: int) -> Batch:
        """Return rows that were not emitted yet; see `Source`."""
        began = self._clock.monotonic()
        self._signal.news.clear()
        ledger, reader = self._ledger, self._reader
        if not self._behind:
            # While what is read ends far below the horizon, a newer one would not help.
            self._observed(await reader.observe())
        horizon, held_back = self._horizon, len(ledger.emitted) >= self._early_limit
        limit = min(limit, max(1, _MEMORY // self._size))
        rows: list[Row[Order]] = []
        complete = True
        if not held_back or horizon is not None:
            rows, complete = await reader.rows(limit, _MEMORY, ledger, horizon if held_back else None)
        null_key_rows = await self._find_null_key_rows()
        # Nothing is awaited from here on: what has failed before has changed nothing.
        self._behind = not complete and bool(rows) and horizon is not None and rows[-1].order < horizon
        if rows:
            self._size = max(1, sum(len(row.data) for row in rows) // len(rows))
        fresh, saved = ledger.take(rows, horizon, complete=complete)
        batch = Batch(checkpoint=saved, more=not complete)
        self._events.add(fresh, batch)
        if null_key_rows is not None:
            rejected, part = self._null_key_rows.take(null_key_rows)
            self._events.reject_null_key_rows(rejected, batch)
            batch.checkpoint |= part
        batch.problems = tuple(self._problem(held_back=held_back))
        now = self._clock.monotonic()
        self._pause_until = now + max(_MIN_PAUSE, now - began)
        return batch

    async def wait_for_change(self) -> None:
        """Return when the database has told of news."""
        await self._signal.news.wait()
        if (rest := self._pause_until - self._clock.monotonic()) > 0:
            await self._clock.sleep(rest)

    def _observed(self, horizon: Order | None) -> None:
        # What was final stays so, though a reader that had to connect anew may not know it yet.
        if horizon is not None and (self._horizon is None or horizon > self._horizon):
            self._horizon = horizon
            self._moved_at = self._clock.monotonic()

    async def _find_null_key_rows(self) -> Sequence[NullKeyRow] | None:
        began = self._clock.monotonic()
        if began < self._null_key_due or self._behind:
            return None
        found = None
        try:
            found = await self._reader.null_key_rows(self._null_key_rows.known, self._timeout)
        except Unavailable as exc:
            self._null_key_failures += 1
            if self._null_key_failures == 1:
                raise  # whoever tries again finds out whether it is the database that is away
            # It is this look alone, which takes too long: the others are not to wait for it.
            self._null_key_error = str(exc)
        else:
            self._null_key_failures, self._null_key_error = 0, None
        now = self._clock.monotonic()
        self._null_key_due = now + max(_NULL_KEY_INTERVAL, _NULL_KEY_SHARE * (now - began))
        return found

    def _problem(self, *, held_back: bool) -> list[str]:
        found: list[str] = []
        if held_back and self._clock.monotonic() - self._moved_at > _STALL_TIMEOUT:
            found.append(
                f"a transaction stays open, and {self._early_limit} rows above it are read already:"
                " only what is final is read until it has ended"
            )
        if self._null_key_rows.overflowing:
            found.append(f"more than {LIMIT} rows have no key or no time: no more are put aside")
        if self._null_key_error is not None:
            found.append(f"rows without a key or a time cannot be looked for: {self._null_key_error}")
        said = self._reader.problem(self._ledger)
        return found if said is None else [*found, said]
