"""Tells subscribers up to when sources have been read, once everything below a watermark has been delivered to them.

The process layer, and sources with a channel, write watermarks to a topic of their own. Each names offsets of the
publish topic. Once this replica has read up to them, a live connection has been written every event below.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from services.experience_api.hub.connection import Connection
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.history import History
from services.experience_api.stream.watermarks.reached import Reached
from shared.bus.protocol import Bus, Record
from shared.errors import PositionLost, Unavailable
from shared.events.watermark import Watermark, watermarks_about
from shared.runtime.clock import Clock
from shared.runtime.retry import restarting
from shared.runtime.tasks import Tasks

_CHECK_INTERVAL = 1.0
_STEP = 0.005
"""Seconds for which watermarks are sent at a time."""
_WAIT = 10.0
_PAUSE = 1.0
_RECENT = 60.0
"""Seconds before the start of which watermarks are read, so that there are some at once."""


class Watermarks:
    """The watermarks of the connections that asked for them."""

    def __init__(
        self,
        bus: Bus,
        topic: str | None,
        publish_topic: str,
        history: History,
        is_live: Callable[[Connection], bool],
        control_events: ControlEvents,
        clock: Clock,
    ) -> None:
        """`topic` is that of the watermarks; without it, there are none.

        `is_live` tells whether a connection has received all up to the head of the history.
        """
        self._bus = bus
        self._topic = topic
        self._publish_topic = publish_topic
        self._is_live = is_live
        self._control_events = control_events
        self._clock = clock
        self._reached = Reached(history)
        self._connections: dict[Connection, _Sent] = {}

    def add(self, connection: Connection) -> None:
        """Send watermarks to a connection, if its subscriber asked for them."""
        if connection.subscriber.watermarks is not None:
            self._connections[connection] = _Sent()

    def remove(self, connection: Connection) -> None:
        """Send no more watermarks to a connection."""
        self._connections.pop(connection, None)

    def start(self, tasks: Tasks) -> None:
        """Follow the topic, and send what is due, in tasks of their own."""
        if self._topic is not None:
            for name, work in (("watermarks", self._run), ("topic of watermarks", partial(self._follow, self._topic))):
                tasks.keep(name, restarting(name, work, self._clock))

    async def _run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            await self._clock.sleep(_CHECK_INTERVAL)
            for _ in self.send_due():
                await asyncio.sleep(0)

    async def _follow(self, topic: str) -> None:
        """Follow the topic until cancelled."""
        position = None
        while True:
            try:
                if position is None:
                    since = int((self._clock.time() - _RECENT) * 1000)
                    position = (await self._bus.offsets_at(topic, since))[0]
                async with self._bus.reader(topic, {0: position}) as reader:
                    while True:
                        self.take(await reader.read(wait=_WAIT))
                        position = reader.positions[0]
            except PositionLost as lost:
                position = lost.earliest
            except Unavailable:
                await self._clock.sleep(_PAUSE)  # the feed logs the outage

    def take(self, records: Sequence[Record]) -> None:
        """Take records of the topic."""
        now_ms = int(self._clock.time() * 1000)
        for record in records:
            for mark in watermarks_about(self._publish_topic, [record]):
                # Behind one of a clock that is ahead, those of a clock that is right would not be sent for as long.
                self._reached.add(mark.bounded(record.timestamp, now_ms))

    def send_due(self) -> Iterator[None]:
        """Send each connection the watermarks that are newer than what it has.

        Yields after each step, so that ten thousand connections do not keep everything else waiting.
        """
        # A watermark that holds now holds later as well, for what is live then.
        marks, frames = list(self._reached.all()), _Frames()
        ends_at = self._clock.monotonic() + _STEP
        for connection in list(self._connections) if marks else ():
            if self._clock.monotonic() >= ends_at:
                yield
                ends_at = self._clock.monotonic() + _STEP
            if (sent := self._connections.get(connection)) is not None:
                self._send_all(connection, sent, marks, frames)

    def send_to(self, connection: Connection) -> None:
        """Send a connection the watermarks that are due: it was written what came before them, and more may follow."""
        if (sent := self._connections.get(connection)) is not None:
            self._send_all(connection, sent, self._reached.all(), _Frames())

    def _send_all(self, connection: Connection, sent: "_Sent", marks: Iterable[Watermark], frames: "_Frames") -> None:
        if self._clock.monotonic() >= sent.due and self._is_live(connection):
            for mark in marks:
                self._send(connection, sent, mark, frames)

    def _send(self, connection: Connection, sent: "_Sent", mark: Watermark, frames: "_Frames") -> None:
        """Send a watermark, unless the connection has it. `frames` has those that are encoded already."""
        interest, seconds = connection.subscriber.interest, connection.subscriber.watermarks
        if mark.as_of <= sent.as_of.get(mark.source, 0):
            return
        channels = tuple(name for name in mark.channels if interest.matches(name.encode()))
        if not channels:
            return
        frame = frames.get((mark.source, channels))
        if frame is None:
            frame = self._control_events.watermark(mark.source, mark.as_of, channels)
            frames[mark.source, channels] = frame
        if connection.outbox.offer(frame):
            sent.as_of[mark.source] = mark.as_of
            sent.due = self._clock.monotonic() + (seconds or 0)


class _Frames(dict[tuple[str, tuple[str, ...]], bytes]):
    """Encoded watermarks of one moment, by source and channels."""


class _Sent:
    """What a connection was sent."""

    def __init__(self) -> None:
        self.as_of: dict[str, int] = {}
        """By source."""
        self.due = 0.0
        """When the next watermarks may follow, by the monotonic clock."""
