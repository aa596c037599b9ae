"""A small table as a source that finds inserts, updates and deletes: it reads the whole table, again and again.

A pass reads the hashes of all rows in the order of their keys, a few thousand at a time, and the contents of those rows
whose hash has changed. A row that was known before the pass and is not found by it was deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from services.system_api.sources.portions import Portions
from services.system_api.sources.source import Batch
from services.system_api.sources.table.diff.deletions import Deletions
from services.system_api.sources.table.diff.state import DiffState, Known
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow, NullKeyRows
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.source import ChangeSignal
from shared.runtime.clock import Clock

_HASHES = 5000
"""Maximum number of hashes that are read at once."""
_MAX_BYTES = 16 * 1_048_576
"""Approximate maximum size of the rows of one poll."""
_PAUSE = 4
"""Minimum time between two passes, as a multiple of the time that the last one took."""
_WOKEN_PAUSE = 1
"""The same after a notification."""


class Found(NamedTuple):
    """A row, as a pass finds it."""

    key: str
    digest: str
    place: Any
    """What the reader needs to read it."""


class DiffReader(Protocol):
    """Reads one table for comparison. Every method may raise `Unavailable`, and works again when it is called again."""

    async def hashes(self, after: Found | None, limit: int, /) -> tuple[list[Found], bool]:
        """Return rows that follow `after` in the order of their keys, and whether these are all.

        Rows without a key are left out. At least one row unless there are none.
        """
        ...

    async def contents(self, rows: Sequence[Found], max_bytes: int, /) -> tuple[list[Row[int]], int]:
        """Return the current states of rows, with their digests as versions, and of how many of `rows` these are.

        Rows that were deleted meanwhile are left out. No more rows once these have about `max_bytes` bytes.
        """
        ...

    async def null_key_rows(self, known: frozenset[str], timeout: float, /) -> Sequence[NullKeyRow]:
        """See `TableReader`."""
        ...


@dataclass(slots=True)
class _Pass:
    """A pass in progress."""

    began: float
    snapshot: bool
    """Whether rows that have not changed are published, too."""
    seen: set[str] = field(default_factory=set)
    last: Found | None = None
    complete: bool = False
    """Whether the last row was found."""
    changed: list[Found] = field(default_factory=list)
    """Rows whose contents are to be read."""
    deleted: list[str] | None = None
    """Rows that were not found; None until the table is read."""
    repeated: str | None = None
    """A key that two rows have."""


@dataclass(frozen=True, slots=True)
class DiffLimits:
    """Limits of a source that compares."""

    rows: int
    """Maximum number of rows of the table."""
    null_key_timeout: float
    """Seconds that a search for rows without a key may take."""


@dataclass(frozen=True, slots=True)
class DiffEvents:
    """What makes the events."""

    states: RowEvents[int]
    """Of inserted and updated rows; the order value of a row is the number of the pass."""
    deletions: Deletions


class DiffSource:
    """A `Source` of one table."""

    def __init__(
        self,
        reader: DiffReader,
        state: DiffState,
        null_key_rows: NullKeyRows,
        events: DiffEvents,
        limits: DiffLimits,
        signal: ChangeSignal,
        clock: Clock,
    ) -> None:
        self._signal = signal
        self._reader = reader
        self._state = state
        self._null_key_rows = null_key_rows
        self._events = events.states
        self._deletions = events.deletions
        self._limits = limits
        self._clock = clock
        self._pass: _Pass | None = None
        self._next = clock.monotonic()
        self._woken_next = clock.monotonic()
        self._problems: tuple[str, ...] = ()
        self._hashes = Portions(_HASHES)
        self._contents = Portions(_HASHES)

    async def poll(self, limit: int) -> Batch:
        """Return changes that this pass finds; an empty batch until the next pass is due. See `Source`."""
        batch = Batch()
        if self._pass is None:
            now = self._clock.monotonic()
            if now < (self._woken_next if self._signal.event.is_set() else self._next):
                batch.problems = batch.waiting = self._problems
                return batch
            await self._begin(now, batch)
            batch.more = True
            return batch
        current = self._pass
        if not current.changed and not current.complete:
            await self._find(current)
        if current.changed:
            await self._read(current, min(limit, len(current.changed)), batch)
        elif current.complete:
            self._delete(current, limit, batch)
        batch.more = self._pass is not None
        batch.whole = True
        batch.problems = batch.waiting = self._problems
        return batch

    async def wait_for_change(self) -> None:
        """Return when the database has notified of a change, and a pass may begin."""
        await self._signal.event.wait()
        if (rest := self._woken_next - self._clock.monotonic()) > 0:
            await self._clock.sleep(rest)

    async def snapshot(self) -> dict[str, bytes | None]:
        """Let a pass begin that publishes all rows; see `Snapshotting`. After a crash it begins again."""
        self._pass, self._next = None, self._clock.monotonic()
        return self._state.begin_snapshot()

    async def _begin(self, now: float, batch: Batch) -> None:
        found = await self._reader.null_key_rows(self._null_key_rows.known, self._limits.null_key_timeout)
        # A change from here on may be missed by this pass, and wakes the next one.
        self._signal.event.clear()
        rejected, part = self._null_key_rows.take(found)
        self._events.reject_null_key_rows(rejected, batch)
        batch.checkpoint |= part
        batch.rows = len(rejected)
        self._state.begin_pass()
        self._pass = _Pass(now, self._state.snapshot)

    async def _find(self, current: _Pass) -> None:
        """Read the next hashes."""
        # One more than the limit tells that there are more.
        with self._hashes.reading(self._limits.rows + 1 - len(current.seen)) as asked:
            found, complete = await self._reader.hashes(current.last, asked)
        known = self._state.known
        for row in found:
            if row.key in current.seen:
                current.repeated = row.key
                continue
            current.seen.add(row.key)
            state = known.get(row.key)
            if state is None or state.digest != row.digest or current.snapshot:
                current.changed.append(row)
        current.last = found[-1] if found else current.last
        current.complete = complete or len(current.seen) > self._limits.rows

    async def _read(self, current: _Pass, limit: int, batch: Batch) -> None:
        """Read rows that have changed, and make events of their states."""
        with self._contents.reading(limit) as asked:
            rows, read = await self._reader.contents(current.changed[:asked], _MAX_BYTES)
        del current.changed[:read]
        state = self._state
        revision = state.revision
        changed, fresh = list[Row[int]](), list[Row[int]]()
        for row in rows:
            known = state.known.get(row.key)
            if known is None or known.digest != row.version:
                changed.append(row)
                fresh.append(row._replace(order=revision))
            elif current.snapshot and known.subject is not None:
                # With the id that it had before.
                fresh.append(row._replace(order=known.revision))
        rejected = self._events.add(fresh, batch)
        batch.checkpoint |= state.put(
            (row.key, Known(row.version, revision, None if row.key in rejected else row.subject)) for row in changed
        )
        batch.rows = len(fresh)

    def _delete(self, current: _Pass, limit: int, batch: Batch) -> None:
        """Make events of rows that were not found, and end the pass after the last of them."""
        if current.deleted is None:
            too_many = len(current.seen) > self._limits.rows
            # Which of the others still exist is not known then.
            current.deleted = [] if too_many else [key for key in self._state.known if key not in current.seen]
            self._problems = tuple(self._found_problems(current, too_many=too_many))
        keys, current.deleted = current.deleted[:limit], current.deleted[limit:]
        gone = [(key, self._state.known[key].subject) for key in keys]
        self._deletions.add(gone, self._state.revision, batch)
        batch.rows = len(batch.records)
        batch.checkpoint |= self._state.put((), keys)
        if not current.deleted:
            if current.snapshot:
                batch.checkpoint |= self._state.end_snapshot()
            now = self._clock.monotonic()
            took = now - current.began
            self._next, self._woken_next = now + _PAUSE * took, now + _WOKEN_PAUSE * took
            self._pass = None

    def _found_problems(self, current: _Pass, *, too_many: bool) -> list[str]:
        found = []
        if too_many:
            found.append(
                f"the table has more than diff_limit ({self._limits.rows}) rows: rows with higher keys are not read,"
                " and deletes are not found; increase diff_limit, or set `updated_at_column`"
            )
        if current.repeated is not None:
            found.append(f"several rows have the key {current.repeated!r}, and only one of them is read: change `key`")
        if self._null_key_rows.overflowing:
            found.append(f"more than {LIMIT} rows have no key: no more are dead-lettered until some are corrected")
        return found
