"""Delivers what the feed reads: to all live subscribers at once, and to each of the others by its own replay."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import Position
from services.experience_api.hub.hub import Hub
from services.experience_api.stream.catching_up.catch_up import CatchUp
from services.experience_api.stream.catching_up.resubscribing import Resubscription
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import NOT_KEPT, ControlEvents
from services.experience_api.stream.history import History
from services.experience_api.stream.snapshots.sending import Snapshots
from services.experience_api.wire.cursor import CursorRefused, Vector
from services.experience_api.wire.deflate import LARGE
from services.experience_api.wire.records import Batch
from services.experience_api.wire.snapshot_cursor import SnapshotCursor, read_cursor


class Broadcast:
    """Takes what the feed reads, and starts each connection at its cursor."""

    def __init__(
        self,
        history: History,
        hub: Hub,
        catch_up: CatchUp,
        control_events: ControlEvents,
        compressing: Compressing,
        snapshots: Snapshots | None = None,
    ) -> None:
        """Without `snapshots`, none is sent."""
        self._history = history
        self._hub = hub
        self._catch_up = catch_up
        self._control_events = control_events
        self._compressing = compressing
        self._snapshots = snapshots

    async def prepare(self, batch: Batch) -> None:
        """Compress what would take long in `deliver`."""
        for frame, channel in zip(batch.frames, batch.channels, strict=True):
            if len(frame) > LARGE:
                await self._compressing.prepare([frame], self._hub.windows(channel))

    def deliver(self, batch: Batch) -> None:
        """Add a batch to the history and write it to every live connection, in one step."""
        before = self._history.head
        self._history.extend(batch)
        self._hub.deliver(batch, before, self._catch_up.start)
        self._catch_up.notify_progress()

    def on_gap(self, reason: str, detail: str) -> None:
        """Report to subscribers that the stream continues at the history's head, which does not follow what was read.

        If only retention caused it, a connection that catches up finds the gap itself, and may miss less.
        """
        cursor = self._history.codec.encode(self._history.head)
        frame = self._control_events.gap(None, reason, detail, cursor)
        for connection in self._hub.live():
            connection.outbox.force(frame)
        if reason != NOT_KEPT:
            for connection in self._catch_up.cancel_all():
                connection.outbox.force(frame)
                changes = self._catch_up.take_changes(connection)
                self._join(connection)
                for change in changes:
                    self._change(connection, change)
            for connection, changes in [] if self._snapshots is None else self._snapshots.cancel_all():
                connection.outbox.force(frame)
                self._join(connection)
                for change in changes:
                    self._change(connection, change)

    def is_live(self, connection: Connection) -> bool:
        """Return whether a connection has been written everything up to the head, or the latest of it."""
        return self._hub.is_live(connection) or self._catch_up.is_served(connection)

    def remove(self, connection: Connection) -> None:
        """Deliver nothing more to a connection, whether it is live or catching up."""
        self._catch_up.cancel(connection)
        self._hub.remove(connection)
        dropped = self._catch_up.take_changes(connection)
        if self._snapshots is not None:
            dropped = dropped + self._snapshots.cancel(connection)
        for change in dropped:
            change.drop()

    def subscribe(self, connection: Connection, interest: Interest, reason: str) -> asyncio.Future[bytes | None]:
        """Subscribe a connection to another interest without a gap; the result is the cursor from which on it holds."""
        change = Resubscription(interest, reason)
        if connection.ending is not None:
            change.drop()
        else:
            self._change(connection, change)
        return change.made

    def position(self, connection: Connection) -> Position:
        """Return how far a connection has been served. A live one has been written everything up to the head."""
        if self._snapshots is not None and (found := self._snapshots.position(connection)) is not None:
            return found
        head = self._history.codec.encode(self._history.head)
        return self._catch_up.position(connection) or Position(head, 0, live=True)

    def _change(self, connection: Connection, change: Resubscription) -> None:
        if self._snapshots is not None and self._snapshots.change(connection, change):
            return
        if self._catch_up.change(connection, change):
            return
        # A live connection has been written everything up to the head: the next batch is the first of the change.
        self._hub.leave(connection)
        connection.subscriber = replace(connection.subscriber, interest=change.interest)
        change.report(connection, self._history.codec.encode(self._history.head), self._control_events)
        self._join(connection)

    def _join(self, connection: Connection) -> None:
        """Serve a connection that has been written everything up to the head."""
        if connection.subscriber.interest.conflate:
            self._catch_up.start(connection, self._history.head)
        else:
            self._hub.join(connection)

    def start(
        self,
        connection: Connection,
        cursor: str | None,
        on_start: Callable[[Connection, bytes], None] = lambda _connection, _cursor: None,
        *,
        tells: bool = False,
    ) -> None:
        """Send a new connection its first frame, then serve it from its cursor.

        `on_start` is called in between, with the cursor of that frame: the first events follow in the same step.
        `tells` announces large events with a control event before each.
        If the stream cannot be resumed from the cursor, send a gap event and begin with the next event.
        """
        connection.position = partial(self.position, connection)
        refused: CursorRefused | None = None
        found: Vector | SnapshotCursor = self._history.head
        if cursor is not None:
            try:
                found = read_cursor(self._history.codec, cursor)
            except CursorRefused as exc:
                refused = exc
        if isinstance(found, SnapshotCursor):
            if self._snapshots is not None:
                text = (cursor or "").encode()
                connection.outbox.force(self._control_events.connected(connection.subscriber, text))
                on_start(connection, text)
                self._snapshots.start(connection, found, text, tells=tells)
                return
            refused, found = CursorRefused("the cursor is within a snapshot; found none here"), found.vector
        text = self._history.codec.encode(found)
        connection.outbox.force(self._control_events.connected(connection.subscriber, text))
        if refused is not None:
            gap = self._control_events.gap(connection.subscriber, refused.reason, str(refused), text)
            connection.outbox.force(gap)
        on_start(connection, text)
        self.proceed(connection, found, tells=tells)

    def proceed(self, connection: Connection, vector: Vector, *, tells: bool) -> None:
        """Serve a connection that is in no audience from a vector on."""
        if vector == self._history.head:
            self._join(connection)
        else:
            self._catch_up.start(connection, vector, tells=tells)
