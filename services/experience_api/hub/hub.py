"""The connections of this replica, and the loop that delivers to them without an await, a task or an encoding."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from pydantic import Field

from services.experience_api.hub.audience import Audience, Audiences
from services.experience_api.hub.close_codes import NO_PONG, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import SLOTS, HeartbeatOptions, Wheel
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.deflate import PLAIN, Deflater
from services.experience_api.wire.records import Batch
from shared.runtime.clock import Clock
from shared.runtime.failpoints import reach
from shared.settings import Options

OnLagging = Callable[[Connection, Vector], None]
"""Takes a connection that has left its audience, and the offsets up to which it was served."""


class HubOptions(Options):
    """How connections are held."""

    outbox_bytes: int = Field(default=1024 * 1024, ge=262_144)
    """Bytes buffered in memory for one subscriber. Beyond it, the subscriber is served from the log again once it has
    read them, and uses no memory meanwhile."""

    heartbeat: HeartbeatOptions = HeartbeatOptions()
    """Pings that find dead connections."""


@dataclass(slots=True)
class HubCounts:
    """Counts for metrics: plain integers, because each delivery updates them."""

    batches: int = 0
    events: int = 0
    deliveries: int = 0
    """Events delivered, once per connection."""
    lagging: int = 0
    """Times that a connection exceeded its outbox."""
    endings: Counter[str] = field(default_factory=Counter)
    """Connections that ended, by the label of the close reason."""


class Hub:
    """Holds connections, delivers batches to them and checks that they are alive."""

    def __init__(self, options: HubOptions, clock: Clock, deflater: Deflater) -> None:
        self.connections: dict[UUID, Connection] = {}
        self.compressed = 0
        """Of these, the connections that receive compressed events."""
        self.counts = HubCounts()
        self._options = options
        self._clock = clock
        self._deflater = deflater
        self._audiences: Audiences[Connection] = Audiences()
        self._wheel: Wheel[Connection] = Wheel()

    def add(self, connection: Connection) -> None:
        """Hold a new connection. It receives pings; events only after `join`."""
        self.connections[connection.subscriber.connection_id] = connection
        self.compressed += connection.outbox.window != PLAIN
        self._wheel.add(connection)

    def join(self, connection: Connection) -> None:
        """Make a connection live: deliver every batch from now on to it."""
        self._audiences.add(connection.subscriber.interest, connection.outbox, connection)

    def leave(self, connection: Connection) -> None:
        """Deliver no further batch to a connection, which stays held."""
        self._audiences.discard(connection.subscriber.interest, connection.outbox)

    def remove(self, connection: Connection) -> None:
        """Drop a connection and write nothing more to it: its descriptor may soon belong to another one."""
        connection.outbox.close()
        self._audiences.discard(connection.subscriber.interest, connection.outbox)
        self._wheel.discard(connection)
        if self.connections.pop(connection.subscriber.connection_id, None) is not None:
            self.compressed -= connection.outbox.window != PLAIN
        if connection.ending is not None:
            self.counts.endings[connection.ending.label] += 1

    def live(self) -> list[Connection]:
        """Return the connections that have received everything this replica has read."""
        return [connection for audience in self._audiences for connection in audience.members.values()]

    def is_live(self, connection: Connection) -> bool:
        """Return whether a connection has received everything this replica has read."""
        return self._audiences.holds(connection.subscriber.interest, connection.outbox)

    def windows(self, channel: bytes) -> set[int]:
        """Return the windows of the live connections that receive a channel; 0 stands for those without compression."""
        return {audience.window for audience in self._audiences.of(channel)}

    def deliver(self, batch: Batch, before: Vector, on_lagging: OnLagging) -> None:
        """Write a batch to every live connection that matches. `before` is what all of them have received until now.

        Does not wait. A connection whose outbox is full leaves its audience and is passed to `on_lagging` with
        `before`; it has received nothing of this batch.
        """
        counts = self.counts
        counts.batches += 1
        counts.events += len(batch.frames)
        reach("experience.before-write")
        for audience, pending in self._distribute(batch).items():
            frames = self._deflater.join(pending, audience.window)
            lagging = _write(audience, frames, self._options.outbox_bytes)
            counts.deliveries += len(pending) * (len(audience.members) - len(lagging))
            counts.lagging += len(lagging)
            for connection in lagging:
                self._audiences.discard(audience.interest, connection.outbox)
                on_lagging(connection, before)
        reach("experience.after-write")

    async def run_heartbeat(self) -> None:
        """Ping each connection once a turn, and end those from which nothing was received."""
        while True:
            await self._clock.sleep(self._options.heartbeat.seconds / SLOTS)
            for connection in self._wheel.advance():
                if not connection.heartbeat():
                    connection.end(TOO_SLOW if connection.progress().backlog else NO_PONG)

    def _distribute(self, batch: Batch) -> dict[Audience[Connection], list[bytes]]:
        """Return the audiences that match, each with its frames."""
        pending: dict[Audience[Connection], list[bytes]] = {}
        for frame, channel in zip(batch.frames, batch.channels, strict=True):
            for audience in self._audiences.of(channel):
                if not audience.interest.wants(channel, frame):
                    continue
                frames = pending.get(audience)
                if frames is None:
                    pending[audience] = [frame]
                else:
                    frames.append(frame)
        return pending


def _write(audience: Audience[Connection], frames: bytes, limit: int) -> list[Connection]:
    """Write the same bytes to all members of an audience; return those whose outbox they exceed.

    `Outbox.offer` is inlined here for the usual case, an empty buffer. A method call for each of a thousand
    connections would cost 4 % of the whole, and so would touching more than the outbox.
    """
    write = os.write
    size = len(frames)
    if size > limit:
        return list(audience.members.values())
    lagging = []
    for outbox in audience.members:
        fd = outbox.direct_fd
        if fd >= 0:
            try:
                sent = write(fd, frames)
            except OSError:
                sent = 0
            if sent != size:
                outbox.write_rest(frames, sent)
        elif not outbox.offer(frames):
            lagging.append(audience.members[outbox])
    return lagging
