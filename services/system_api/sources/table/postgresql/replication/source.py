"""The changes of one table as a source."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Literal

import msgspec

from services.system_api.sources.portions import Portions
from services.system_api.sources.source import Batch, Checkpoint
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.replication.changes import ChangedRow, ChangedRows, Kind, wanted_of
from services.system_api.sources.table.postgresql.replication.log import Read, TableLog
from services.system_api.sources.table.postgresql.replication.log_state import LogState, SnapshotProgress
from services.system_api.sources.table.postgresql.replication.rendering import Renderer, base_types
from services.system_api.sources.table.postgresql.replication.slot import Status, check_place
from services.system_api.sources.table.postgresql.replication.snapshot import (
    After,
    Portion,
    Start,
    read_portion,
    read_start,
)
from services.system_api.sources.table.postgresql.replication.transactions import Place
from services.system_api.sources.table.postgresql.session import Session
from services.system_api.sources.table.postgresql.statements import ReadLimits
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.source import ChangeSignal
from shared.errors import Malformed
from shared.runtime.clock import Clock

_PATIENCE = 5.0
"""Seconds that a poll waits for the server to decode, and to move the slot."""
_MAX_BYTES = 16 * 1_048_576
"""Approximate maximum size of the rows of a portion of a snapshot."""
_MAX_ROWS = 4000
_SAVE_INTERVAL = 10.0
"""Seconds after which the place is saved although nothing of the table was in the log."""
_RECENT = 10_000
"""Transactions that are remembered, to recognise one that is in the log before it is visible."""
_CLOSE = 1_048_576
"""Bytes of log behind which a snapshot does not begin: what is changed in between is remembered by transaction."""
_SETTLING_POLLS = 3
"""Polls that wait until the last batches are committed and the slot can follow: more than are in flight."""
_PAGE = 8192
_HEADER = 40
"""The largest header of a page of the log. At the beginning of a page, the place of the next record is behind it."""


@dataclass(frozen=True, slots=True)
class LogEvents:
    """What makes the events."""

    changes: dict[Kind, RowEvents[int]]
    """Of changes; the order value of a row is the time of its commit."""
    snapshot: RowEvents[int]


class LogSource:
    """A `Source` of one table."""

    def __init__(
        self,
        keeper: SessionKeeper,
        log: TableLog,
        state: LogState,
        events: LogEvents,
        signal: ChangeSignal,
        clock: Clock,
    ) -> None:
        """`state` must be at a place."""
        self._keeper = keeper
        self._options: TableSourceOptions = keeper.options
        self._log = log
        self._state = state
        self._events = events
        self._signal = signal
        self._clock = clock
        self._rows = ChangedRows(keeper.options, log.cut)
        self._renderer = Renderer()
        self._read: Read | None = None
        """What was read and is not returned yet."""
        self._start: Start | None = None
        self._portion: Portion | None = None
        self._portions = Portions(_MAX_ROWS)
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._committed = state.place or Place(0, 0)
        self._save_at = clock.monotonic()
        self._settling_polls = 0
        """Those that may follow until the server decodes again."""

    async def poll(self, limit: int) -> Batch:
        """Return the changes that follow, and rows of a snapshot that is in progress. See `Source`."""
        self._signal.event.clear()
        batch = Batch(rows=0)
        state = self._state
        assert state.place is not None
        until = self._clock.monotonic() + _PATIENCE
        try:
            with self._keeper.errors():
                if self._read is None and not self._log.reading:
                    if self._settling_polls and self._committed < state.place:
                        # From where the slot is now, the server would decode the same part of the log once more.
                        self._settling_polls -= 1
                        self._save_at = self._clock.monotonic()
                        return self._noted(batch, more=True)
                    status = await self._log.look()
                    state.check_published(self._log.slot.publication, self._log.published.identity)
                    check_place(self._log.slot, status, state.place.lsn)
                    if not await self._log.advance(self._committed, status, self._left(until)):
                        batch.waiting = ("the server moves the slot over a large part of its log",)
                        return self._noted(batch, more=True)
                    if await self._snapshot(state.place, status, limit, batch):
                        return self._noted(batch, more=True)
                    if status.flushed <= state.place.lsn:
                        return self._noted(batch, more=state.snapshot is not None)
                if self._read is None:
                    self._read = await self._log.read(state.place, state.last, min(limit, _MAX_ROWS), self._left(until))
                if self._read is None:
                    # A server that is gone would never answer what is waited for here; this has a time limit.
                    await self._log.look()
                    batch.waiting = ("the server decodes a large part of its log",)
                    return self._noted(batch, more=True)
                await self._publish(self._read, batch)
        except BaseException:
            # The next poll reads again behind the place that it has reached.
            self._log.close()
            raise
        # Nothing is awaited from here on: a failure before this has changed no state.
        more = not self._read.complete or state.snapshot is not None
        self._settling_polls = _SETTLING_POLLS if self._read.stopped_early else 0
        state.note_last(self._read.changes)
        state.place, self._read = self._read.reached, None
        return self._noted(batch, more=more)

    async def settle(self, batch: Batch) -> None:
        """Note that a batch is committed: the slot may be moved up to it. See `Settling`."""
        saved = batch.checkpoint.get("")
        if saved is not None:
            self._committed = max(self._committed, LogState.place_of(saved))

    async def wait_for_change(self) -> None:
        """Return when a trigger has notified."""
        await self._signal.event.wait()

    async def snapshot(self) -> dict[str, bytes | None]:
        """Begin a snapshot; see `Snapshotting`."""
        self._state.snapshot, self._start, self._portion = SnapshotProgress(), None, None
        return self._state.saved()

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint of a place; see `Rewinding`. The beginning is a snapshot, and what follows."""
        if place == "beginning":
            return {}
        if place != "end":
            raise Malformed("the log of a database is not searched by time; expected beginning, end or a position")
        with self._keeper.errors():
            status = await self._log.look()
        self._state.place, self._state.last, self._state.snapshot = Place(status.flushed, 0), None, None
        self._state.published = self._log.published.identity
        return {part: value for part, value in self._state.saved().items() if value is not None}

    def entity(self, position: str) -> str:
        """Return the key of the row of an event."""
        return position.rpartition("@")[0] or position

    def _left(self, until: float) -> float:
        return max(0.0, until - self._clock.monotonic())

    def _noted(self, batch: Batch, *, more: bool) -> Batch:
        """Complete a batch: its checkpoint, and what is wrong with the slot."""
        now = self._clock.monotonic()
        if batch.rows or now >= self._save_at:
            batch.checkpoint = self._state.saved()
            self._save_at = now + _SAVE_INTERVAL
        batch.more = more
        status = self._log.status
        if status is not None:
            batch.slot_lag = status.lag
            batch.problems = tuple(self._problems(status))
        return batch

    def _problems(self, status: Status) -> list[str]:
        name, limit = self._log.slot.name, self._options.slot_lag_limit
        found = []
        if status.lag > limit:
            found.append(
                f"slot {name}: the server keeps {status.lag} bytes of its log for it, more than slot_lag_limit"
                f" ({limit}): the disk may fill; look for a transaction that stays open, or for what holds back the bus"
            )
        if status.left is not None and status.left < limit // 4:
            found.append(
                f"slot {name}: it is lost after {status.left} more bytes of log (max_slot_wal_keep_size): changes would"
                " be missing"
            )
        return found

    async def _publish(self, read: Read, batch: Batch) -> None:
        """Make the events of changes."""
        session = await self._keeper.session()
        if unknown := self._rows.unknown(read.changes):
            self._rows.bases.update(await base_types(session.connection, unknown))
        rows = [row for change in read.changes for row in self._rows.of(change, read.encoding.codec)]
        rendered = iter(await self._renderer.rendered(session.connection, wanted_of(rows), read.encoding))
        made: list[tuple[Kind, Row[int]]] = []
        for row in rows:
            data, error = next(rendered) if row.relation is not None and row.error is None else (b"{}", row.error)
            key = self._options.table if row.key is None else row.key
            made.append((row.kind, Row(row.time, key, row.version, row.subject, data, error)))
        for kind, some in groupby(made, key=lambda each: each[0]):
            self._events.changes[kind].add([row for _, row in some], batch)
        self._note(rows)
        batch.rows = len(rows)

    def _note(self, rows: Sequence[ChangedRow]) -> None:
        for row in rows:
            if not self._recent or self._recent[-1] != row.xid:
                self._recent.append(row.xid)
            if self._start is not None and self._start.visible.contains(row.xid):
                self._start.seen.add(row.xid)
            if self._portion is not None:
                self._portion.note(row.xid, row.key)

    async def _snapshot(self, place: Place, status: Status, limit: int, batch: Batch) -> bool:
        """Begin a snapshot, read a portion, or publish it once the log is far enough; return whether it does that."""
        state = self._state
        if state.snapshot is None:
            return False
        session = await self._keeper.session()
        if self._start is None and state.snapshot.start is not None:
            self._start = Start.resumed(state.snapshot.start, state.snapshot.seen)
        if self._start is None:
            if status.flushed - place.lsn < _CLOSE:
                self._start = await read_start(session.connection)
            return False
        if state.snapshot.start is None:
            if not _is_reached(self._start.upto, place.lsn):
                return False
            state.snapshot = SnapshotProgress(None, self._start.text, tuple(sorted(self._start.seen)))
        if self._portion is None:
            found = await self._read_portion(session, state.snapshot.after, limit)
            if not found.visible.running & set(self._recent):
                self._portion = found
            return False
        if not _is_reached(self._portion.upto, place.lsn):
            return False
        self._publish_portion(self._portion, self._start, state.snapshot, batch)
        return True

    async def _read_portion(self, session: Session, after: str | None, limit: int) -> Portion:
        """Read the next rows: those, and their columns, that the log has as well."""
        published, shape = self._log.published, session.shape
        if shape.columns is None and published.columns is not None:
            shape = replace(shape, columns=published.columns)
        with self._portions.reading(limit) as asked, self._keeper.errors():
            limits = ReadLimits(asked, _MAX_BYTES, self._options.row_limit)
            return await read_portion(session.connection, shape, After(after, published.condition), limits)

    def _publish_portion(self, portion: Portion, start: Start, progress: SnapshotProgress, batch: Batch) -> None:
        current = portion.current(start)
        self._events.snapshot.add(current, batch)
        batch.rows = len(portion.rows)
        batch.skipped = len(portion.rows) - len(current)
        self._state.snapshot = None if portion.complete else msgspec.structs.replace(progress, after=portion.last)
        self._portion = None
        self._start = None if portion.complete else start
        self._save_at = self._clock.monotonic()


def _is_reached(upto: int, reached: int) -> bool:
    return reached >= upto or (reached % _PAGE == 0 and upto - reached <= _HEADER)
