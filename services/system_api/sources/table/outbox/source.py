"""An outbox as a source: reads the rows that are there, and removes them once their events are committed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

from services.system_api.sources.portions import Portions
from services.system_api.sources.source import Batch, Checkpoint
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.outbox.state import REJECTED_LIMIT, OutboxState
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.source import ChangeSignal
from shared.errors import Malformed, SettingsError
from shared.runtime.clock import Clock

_MAX_BYTES = 16 * 1_048_576
"""Approximate maximum size of the rows of one poll."""
_MAX_ROWS = 4000
_FULL = (
    f"{REJECTED_LIMIT} rows or more were rejected and stay in the table: correct them under new keys, and delete them"
)
_CHECK_INTERVAL = 60.0
"""Seconds between two looks at whether rejected rows are still in the table."""


class OutboxReader(Protocol):
    """Reads and removes rows. Every method may raise `Unavailable`, and works again when it is called again."""

    async def rows(self, limit: int, max_bytes: int, known: Sequence[str], /) -> tuple[list[Row[int]], bool]:
        """Return rows in the order of their keys but the `known` ones, and whether these are all.

        Rows that another session has locked are left out.
        """
        ...

    async def remove(self, keys: Sequence[str], /) -> set[str]:
        """Delete rows, or mark them as published; return the keys of those that are in the table nevertheless.

        Those that are no longer there are no error.
        """
        ...

    async def existing(self, keys: Sequence[str], /) -> set[str]:
        """Return those of the keys whose rows are in the table."""
        ...


class OutboxSource:
    """A `Source` of one table."""

    def __init__(
        self,
        reader: OutboxReader,
        state: OutboxState,
        events: RowEvents[int],
        signal: ChangeSignal,
        clock: Clock,
        *,
        deletes: bool,
    ) -> None:
        """`deletes`: published rows are deleted, and not marked; then rejected rows stay in the table."""
        self._reader = reader
        self._state = state
        self._events = events
        self._signal = signal
        self._clock = clock
        self._deletes = deletes
        self._check_at = clock.monotonic()
        self._portions = Portions(_MAX_ROWS)

    async def poll(self, limit: int) -> Batch:
        """Return rows that were not read yet. See `Source`."""
        self._signal.event.clear()
        await self._remove_committed()
        batch = Batch()
        state = self._state
        full = len(state.rejected) >= REJECTED_LIMIT
        gone = await self._rejected_that_are_gone()
        with self._portions.reading(limit) as asked:
            rows, complete = await self._reader.rows(asked, _MAX_BYTES, state.known)
        # Nothing is awaited from here on: a failure before this has changed no state.
        state.forget_rejected(gone)
        rejected = self._events.add(rows, batch)
        stay = rejected if self._deletes else set[str]()
        batch.checkpoint = state.take([row.key for row in rows if row.key not in stay], stay)
        batch.rows = len(rows)
        batch.more = not complete
        batch.whole = True
        if full:
            batch.problems = batch.waiting = (_FULL,)
        return batch

    async def settle(self, batch: Batch) -> None:
        """Remove the rows of a batch that is committed. See `Settling`.

        Raises:
            SettingsError: something in the database keeps them.
        """
        # The bus may have refused an event as too large: its row stays, too.
        prefix = f"{self._events.name}:"
        rejected = [reject.id.removeprefix(prefix) for reject in batch.rejects] if self._deletes else []
        self._state.note_committed(batch.checkpoint, rejected)
        await self._remove_committed()

    async def wait_for_change(self) -> None:
        """Return when the database has notified of a change."""
        await self._signal.event.wait()

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint: all rows that are in the table are to be read. See `Rewinding`."""
        if place != "beginning":
            raise Malformed("an outbox has no other place than its beginning: what is published leaves it")
        return self._state.checkpoint()

    async def _remove_committed(self) -> None:
        state = self._state
        while state.committed:
            part = state.committed[0]
            keys = state.keys(part)
            if kept := await self._reader.remove(keys):
                # The part remains in the checkpoint: without it, they would be published again and again.
                raise SettingsError(
                    f"system.sources.{self._events.name}.table: {len(kept)} of {len(keys)} rows that were published are"
                    f" still unpublished in the table, such as key {min(kept)}, and the database reported no error: a"
                    " trigger, a rule or a policy keeps the account from removing or marking them; change that"
                )
            state.removed(part)

    async def _rejected_that_are_gone(self) -> set[str]:
        rejected = self._state.rejected
        now = self._clock.monotonic()
        if not rejected or now < self._check_at:
            return set()
        self._check_at = now + _CHECK_INTERVAL
        return set(rejected) - await self._reader.existing(list(rejected))
