"""A change of what a connection receives, in the middle of its stream."""

import asyncio
from dataclasses import dataclass, field, replace

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.connection import Connection
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.replay import Replay


@dataclass(frozen=True, slots=True)
class Resubscription:
    """A change that is made once everything before it has been written."""

    interest: Interest
    reason: str
    made: asyncio.Future[bytes | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """The cursor from which on it holds; None if the connection ends before."""

    def make_in(self, replay: Replay, connection: Connection, control_events: ControlEvents) -> None:
        """Make it for a connection that catches up, and has been written all that the replay has returned."""
        replay.select(self.interest.matches, self.interest.wants, self.interest.selecting)
        connection.subscriber = replace(connection.subscriber, interest=self.interest)
        self.report(connection, replay.cursor, control_events)

    def drop(self) -> None:
        """The connection has ended, and it is not made."""
        if not self.made.done():
            self.made.set_result(None)

    def report(self, connection: Connection, cursor: bytes, control_events: ControlEvents) -> None:
        """Tell the subscriber, and what waits for it, that it holds from a cursor on."""
        connection.outbox.force(control_events.subscribed(connection.subscriber, self.reason, cursor))
        connection.changed(cursor)
        if not self.made.done():
            self.made.set_result(cursor)
