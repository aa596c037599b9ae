"""The connections of this replica, and the one loop that delivers to them: no await, no task, no encoding in it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from pydantic import Field

from services.experience_api.batch import Batch
from services.experience_api.cursor import Vector
from services.experience_api.hub.audience import Audience, Audiences
from services.experience_api.hub.close_codes import NO_PONG, TOO_SLOW, CloseReason
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import SLOTS, HeartbeatOptions, Wheel
from shared.clock import Clock
from shared.failpoints import reach
from shared.settings import Options

FallenBehind = Callable[[Connection, Vector], None]
"""Takes a connection that is in no audience any more, and what it has been given."""


class HubOptions(Options):
    """How connections are kept."""

    outbox_bytes: int = Field(default=1024 * 1024, ge=262_144)
    """What may wait in memory for one subscriber. Beyond it, the subscriber is fed from the log again once it has
    read that, and costs nothing meanwhile."""

    heartbeat: HeartbeatOptions = HeartbeatOptions()
    """Pings that find dead connections."""


@dataclass(slots=True)
class HubCounts:
    """For metrics; plain numbers, for they are counted where every nanosecond is paid a thousand times."""

    batches: int = 0
    events: int = 0
    deliveries: int = 0
    """Events times the connections they were written to."""
    lagging: int = 0
    """Times that a connection fell behind its bound."""
    endings: Counter[str] = field(default_factory=Counter)
    """Connections that ended, by the name of the reason."""


class Hub:
    """Who is connected, who hears what, and who is still there."""

    def __init__(self, options: HubOptions, clock: Clock) -> None:
        self.connections: dict[UUID, Connection] = {}
        self.counts = HubCounts()
        self._options = options
        self._clock = clock
        self._audiences: Audiences[Connection] = Audiences()
        self._wheel: Wheel[Connection] = Wheel()

    def arrive(self, connection: Connection) -> None:
        """Keep a new connection. It hears nothing yet; see `join`."""
        self.connections[connection.subscriber.connection_id] = connection
        self._wheel.add(connection)

    def join(self, connection: Connection) -> None:
        """Let a connection have every batch from now on."""
        self._audiences.add(connection.subscriber.interest, connection.outbox, connection)

    def leave(self, connection: Connection) -> None:
        """Forget a connection, and write nothing to it from now on: its descriptor may belong to another one soon."""
        connection.outbox.close()
        self._audiences.discard(connection.subscriber.interest, connection.outbox)
        self._wheel.discard(connection)
        self.connections.pop(connection.subscriber.connection_id, None)
        if connection.ending is not None:
            self.counts.endings[connection.ending.name] += 1

    def live(self) -> list[Connection]:
        """Return those who have all that this replica has read."""
        return [connection for audience in self._audiences for connection in audience.members.values()]

    def deliver(self, batch: Batch, before: Vector, fallen_behind: FallenBehind) -> None:
        """Write a batch to everybody who wants some of it. `before` is what everybody has had until now.

        Nobody is waited for. Whoever has too much waiting already leaves its audience and is handed to
        `fallen_behind`, with `before`, having been given nothing of this batch.
        """
        counts = self.counts
        counts.batches += 1
        counts.events += len(batch.frames)
        reach("experience.before-write")
        for audience in self._addressed(batch):
            pending, audience.pending = audience.pending, []
            frames = pending[0] if len(pending) == 1 else b"".join(pending)
            lagging = _write(audience, frames, self._options.outbox_bytes)
            counts.deliveries += len(pending) * (len(audience.members) - len(lagging))
            counts.lagging += len(lagging)
            for connection in lagging:
                self._audiences.discard(audience.interest, connection.outbox)
                fallen_behind(connection, before)
        reach("experience.after-write")

    def end(self, connection_id: UUID, reason: CloseReason) -> bool:
        """Close a connection for a reason; False where it is not here."""
        connection = self.connections.get(connection_id)
        if connection is None:
            return False
        connection.end(reason)
        return True

    async def keep_heartbeat(self) -> None:
        """Ping everybody in turn, for ever; end those of whom nothing is heard."""
        while True:
            await self._clock.sleep(self._options.heartbeat.seconds / SLOTS)
            for connection in self._wheel.advance():
                if not connection.beat():
                    connection.end(TOO_SLOW if connection.outbox.waiting else NO_PONG)

    def _addressed(self, batch: Batch) -> Iterable[Audience[Connection]]:
        """Deal the frames out to those who want them; return the audiences that have got some."""
        audiences = []
        for frame, channel in zip(batch.frames, batch.channels, strict=True):
            for audience in self._audiences.of(channel):
                if not audience.pending:
                    audiences.append(audience)
                audience.pending.append(frame)
        return audiences


def _write(audience: Audience[Connection], frames: bytes, limit: int) -> list[Connection]:
    """Write the same bytes to all of an audience; return those for whom they did not fit.

    An outbox's own way of writing is spelled out here for the usual case, that nothing waits. A call of a method for
    each of a thousand connections would cost 4 % of the whole, and so would touching more than its outbox.
    """
    write = os.write
    size = len(frames)
    if size > limit:
        return list(audience.members.values())
    lagging = []
    for outbox in audience.members:
        fd = outbox.direct
        if fd >= 0:
            try:
                sent = write(fd, frames)
            except OSError:
                sent = 0
            if sent != size:
                outbox.keep(frames, sent)
        elif not outbox.offer(frames):
            lagging.append(audience.members[outbox])
    return lagging
