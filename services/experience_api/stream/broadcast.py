"""How the feed reaches subscribers: those who are live all at once, those who are not each by its own replay."""

from services.experience_api.hub.connection import Connection
from services.experience_api.hub.hub import Hub
from services.experience_api.stream.catch_up import Resume
from services.experience_api.stream.control_events import NOT_KEPT, OwnEvents
from services.experience_api.stream.history import History
from services.experience_api.wire.cursor import CursorRefused, Vector
from services.experience_api.wire.records import Batch


class Broadcast:
    """Takes what the feed reads and gives each connection its place in it."""

    def __init__(self, history: History, hub: Hub, resume: Resume, own_events: OwnEvents) -> None:
        self._history = history
        self._hub = hub
        self._resume = resume
        self._own_events = own_events

    def deliver(self, batch: Batch) -> None:
        """Keep a batch and write it to everybody who is live, in one step."""
        before = self._history.head
        self._history.extend(batch)
        self._hub.deliver(batch, before, self._resume.begin)
        self._resume.news()

    def broken(self, reason: str, detail: str) -> None:
        """Tell those concerned that the stream goes on at the history's head, which does not follow on what was read.

        Where only retention was faster, those who catch up come upon the gap themselves, and may have less of one.
        """
        cursor = self._history.codec.encode(self._history.head)
        frame = self._own_events.gap(None, reason, detail, cursor)
        for connection in self._hub.live():
            connection.outbox.force(frame)
        if reason != NOT_KEPT:
            for connection in self._resume.abandon():
                connection.outbox.force(frame)
                self._hub.join(connection)

    def leave(self, connection: Connection) -> None:
        """Give a connection nothing more, whether it is live or catching up."""
        self._resume.drop(connection)
        self._hub.leave(connection)

    def begin(self, connection: Connection, cursor: str | None) -> None:
        """Say who a new connection is and from where it is served, then serve it.

        What cannot be resumed from is said, and the stream begins with what comes next.
        """
        refused: CursorRefused | None = None
        vector: Vector = self._history.head
        if cursor is not None:
            try:
                vector = self._history.codec.decode(cursor)
            except CursorRefused as exc:
                refused = exc
        text = self._history.codec.encode(vector)
        connection.outbox.force(self._own_events.connected(connection.subscriber, text))
        if refused is not None:
            gap = self._own_events.gap(connection.subscriber, refused.reason, str(refused), text)
            connection.outbox.force(gap)
        if vector == self._history.head:
            self._hub.join(connection)
        else:
            self._resume.begin(connection, vector)
