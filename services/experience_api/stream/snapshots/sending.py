"""Sends snapshots: one page for one subscriber at a time, as fast as the subscriber reads it; then the stream begins.

Each has its own task meanwhile, and no other subscriber waits for it. Nothing is held in the database between pages.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self, TypeVar

from services.experience_api.hub.close_codes import INTERNAL
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import Position
from services.experience_api.latest.view import LatestEvents
from services.experience_api.stream.catching_up.replay_writer import ReplayWriter
from services.experience_api.stream.catching_up.resubscribing import Resubscription
from services.experience_api.stream.control_events import ControlEvents, SnapshotBegins
from services.experience_api.stream.history import History
from services.experience_api.stream.replay import Replay
from services.experience_api.stream.snapshots.beginning import COPIED_AGAIN, OTHERS_REQUESTED, Beginnings
from services.experience_api.stream.snapshots.paging import Paging, Wanted
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.snapshot_cursor import BEGUN, START, SnapshotCursor
from shared.errors import Unavailable
from shared.runtime.failpoints import reach
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

Proceed = Callable[[Connection, Vector, bool], None]
"""Sends a connection the stream from a vector on; the flag announces large events before each."""


@dataclass(slots=True)
class SnapshotCounts:
    """Counts for metrics."""

    begun: int = 0
    events: int = 0


@dataclass(slots=True)
class _Running:
    """One connection that receives a snapshot."""

    cursor: bytes
    """Of what was written."""
    vector: Vector
    replay: Replay
    tells: bool
    task: asyncio.Task[None] | None = None
    changes: list[Resubscription] = field(default_factory=list)
    restarts: int = 0


class Snapshots:
    """Owns the tasks of the subscribers that receive a snapshot."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each from another part
        self,
        latest: LatestEvents,
        beginnings: Beginnings,
        history: History,
        writer: ReplayWriter,
        control_events: ControlEvents,
        proceed: Proceed,
        *,
        readers: int,
        page_bytes: int,
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        """`readers` is how many pages are read at once; `pause` waits before the next attempt after an outage."""
        self.beginnings = beginnings
        self.counts = SnapshotCounts()
        self._latest = latest
        self._history = history
        self._writer = writer
        self._control_events = control_events
        self._proceed = proceed
        self._page_bytes = page_bytes
        self._pause = pause
        self._turns = asyncio.Semaphore(readers)
        self._encoding = asyncio.Lock()
        self._tasks = Tasks()
        self._running: dict[Connection, _Running] = {}

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._tasks.cancel_all()

    @property
    def active(self) -> int:
        """How many connections receive a snapshot."""
        return len(self._running)

    def start(self, connection: Connection, cursor: SnapshotCursor, text: bytes, *, tells: bool) -> None:
        """Send a connection that is in no audience the rest of a snapshot, then the stream. `text` is the cursor."""
        interest = connection.subscriber.interest
        replay = Replay(self._history, cursor.vector, interest.matches, interest.wants, interest.selecting)
        if tells:
            self._writer.tell(replay)
        running = self._running[connection] = _Running(text, cursor.vector, replay, tells)
        self.counts.begun += 1
        name = f"snapshot {connection.subscriber.connection_id}"
        running.task = self._tasks.start(name, self._run(connection, running, cursor))

    def change(self, connection: Connection, change: Resubscription) -> bool:
        """Change what a connection receives once it has been written what was read for it.

        Returns False if it receives no snapshot, which changes nothing.
        """
        running = self._running.get(connection)
        if running is None:
            return False
        running.changes.append(change)
        return True

    def cancel(self, connection: Connection) -> list[Resubscription]:
        """Send a connection nothing more; return the changes that have not been made."""
        running = self._running.pop(connection, None)
        if running is None:
            return []
        if running.task is not None:
            running.task.cancel()
        return running.changes

    def cancel_all(self) -> list[tuple[Connection, list[Resubscription]]]:
        """Cancel every connection that receives a snapshot, and return them with their changes."""
        return [(connection, self.cancel(connection)) for connection in list(self._running)]

    def position(self, connection: Connection) -> Position | None:
        """Return how far a connection has been served; None if it receives no snapshot."""
        running = self._running.get(connection)
        if running is None:
            return None
        lag = sum(max(0, head - begun) for head, begun in zip(self._history.head, running.vector, strict=True))
        return Position(running.cursor, lag, live=False)

    async def _run(self, connection: Connection, running: _Running, cursor: SnapshotCursor) -> None:
        try:
            await self._send(connection, running, cursor)
        except Exception:
            self._running.pop(connection, None)
            connection.end(INTERNAL)
            raise
        del self._running[connection]
        for change in running.changes:
            self._make(connection, change, self._history.codec.encode(running.vector))
        self._proceed(connection, running.vector, running.tells)

    async def _send(self, connection: Connection, running: _Running, cursor: SnapshotCursor) -> None:
        reason = ""
        while True:
            interest = connection.subscriber.interest
            paging, lost = await self._available(partial(self.beginnings.paging, cursor, interest))
            reason = lost or reason
            running.vector, running.restarts = paging.vector, running.restarts + bool(reason)
            if paging.place == START:
                paging.place = BEGUN
                await self._control(connection, running, self._begins(connection, running, paging, reason), paging)
            reason = await self._pages(connection, running, paging)
            if not reason:
                return
            view = await self._available(partial(self.beginnings.view, newer=True))
            cursor = SnapshotCursor(view.positions, b"", START)

    async def _pages(self, connection: Connection, running: _Running, paging: Paging) -> str:
        """Write the pages that are left, and that nothing is; return why the snapshot has to begin again, if it has."""
        while paging.wanted is not None:
            await self._writer.drained(connection)
            complete = True
            for change in running.changes:
                complete = paging.select(change.interest) and complete
                self._make(connection, change, paging.cursor)
                running.cursor = paging.cursor
            running.changes.clear()
            if not complete:
                return OTHERS_REQUESTED
            if (wanted := paging.wanted) is None:
                break
            frames = await self._available(partial(self._frames, paging, wanted))
            if frames is None:
                return COPIED_AGAIN
            if frames:
                self.counts.events += len(frames)
                reach("snapshot.read")
                await self._writer.write(connection, running.replay, frames)
                reach("snapshot.written")
                running.cursor = paging.cursor
        # Added while the snapshot ran, or not kept any more.
        not_kept = self.beginnings.not_kept(connection.subscriber.interest)
        end = self._control_events.snapshot_ends(
            connection.subscriber, running.restarts, paging.count, paging.cursor, not_kept
        )
        await self._control(connection, running, end, paging)
        return ""

    async def _control(self, connection: Connection, running: _Running, frame: bytes, paging: Paging) -> None:
        await self._writer.write(connection, running.replay, [frame], [frame])
        running.cursor = paging.cursor

    async def _frames(self, paging: Paging, wanted: Wanted) -> list[bytes] | None:
        """Return the frames of the next page; None if it does not belong to those before."""
        async with self._turns:
            page = await self._latest.page(wanted.within, wanted.after, self._page_bytes)
        if not paging.fits(page):
            return None
        frames = list[bytes]()
        # One snapshot at a time, and live subscribers after a few rows of it.
        async with self._encoding:
            for few in paging.take(page):
                frames += few
                await asyncio.sleep(0)
        return frames

    async def _available(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of an attempt, however often it takes while the database or the bus does not answer."""
        while True:
            try:
                return await attempt()
            except Unavailable as exc:
                logger.debug("database or bus unavailable; snapshot waits", extra={"error": str(exc)})
            await self._pause()

    def _make(self, connection: Connection, change: Resubscription, cursor: bytes) -> None:
        connection.subscriber = replace(connection.subscriber, interest=change.interest)
        change.report(connection, cursor, self._control_events)

    def _begins(self, connection: Connection, running: _Running, paging: Paging, reason: str) -> bytes:
        behind = sum(max(0, head - begun) for head, begun in zip(self._history.head, paging.vector, strict=True))
        view = paging.view
        begins = SnapshotBegins(running.restarts, behind, view.copied_ms, view.missed, reason)
        return self._control_events.snapshot_begins(connection.subscriber, begins, paging.cursor)
