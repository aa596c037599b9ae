"""Feeds one subscriber from the past until it is live: from the bus, then from memory, then with everybody.

A subscriber comes here with a cursor, or because it read too slowly to be fed live. Each has a task for as long as
that lasts; nobody waits for it but itself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import Field

from services.experience_api.cursor import Vector
from services.experience_api.feed import DOUBTS
from services.experience_api.history import History
from services.experience_api.hub.close_codes import INTERNAL, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.own_events import CURSOR_AHEAD, NOT_KEPT, OwnEvents
from services.experience_api.past import Past, PastOptions
from services.experience_api.replay import Replay
from shared.errors import PositionLost, Unavailable
from shared.settings import Options
from shared.tasks import Tasks

logger = logging.getLogger(__name__)

_CHUNK = 65_536
"""Bytes written to one subscriber before others have their turn; also where transports begin to say they are full."""

Pause = Callable[[], Awaitable[None]]
"""Waits before the bus is asked again."""


class ResumeOptions(Options):
    """How patient we are with one that reads slowly."""

    past: PastOptions = PastOptions()
    """How much of the publish topic is read again at one time."""

    drain_seconds: float = Field(default=30.0, gt=0)
    """How long what waits for a subscriber may take to drain before it is closed as too slow."""


@dataclass(slots=True)
class ResumeCounts:
    """For metrics."""

    begun: int = 0
    from_bus: int = 0
    deliveries: int = 0
    gaps: int = 0


class Resume:
    """Owns the tasks that catch up."""

    def __init__(
        self,
        history: History,
        past: Past,
        own_events: OwnEvents,
        join: Callable[[Connection], None],
        *,
        options: ResumeOptions,
        pause: Pause,
    ) -> None:
        """`join` makes a connection live; it is called in the very step in which nothing is left to send it."""
        self.counts = ResumeCounts()
        self._history = history
        self._past = past
        self._own_events = own_events
        self._join = join
        self._options = options
        self._pause = pause
        self._tasks = Tasks()
        self._replays: dict[Connection, asyncio.Task[None]] = {}
        self._news: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._tasks.cancel_all()

    def begin(self, connection: Connection, vector: Vector) -> None:
        """Give a connection, which is in no audience, everything that is not below a vector, then make it live."""
        replay = Replay(self._history, vector, connection.subscriber.interest.wants)
        self.counts.begun += 1
        if not connection.clogged and not replay.beyond and self._step(connection, replay):
            return
        name = f"resume {connection.subscriber.connection_id}"
        self._replays[connection] = self._tasks.start(name, self._catch_up(connection, replay))

    def drop(self, connection: Connection) -> None:
        """Give a connection nothing more."""
        task = self._replays.pop(connection, None)
        if task is not None:
            task.cancel()

    def abandon(self) -> list[Connection]:
        """Drop everybody who is catching up, and return them."""
        abandoned = list(self._replays)
        for connection in abandoned:
            self.drop(connection)
        return abandoned

    @property
    def under_way(self) -> int:
        """How many are catching up."""
        return len(self._replays)

    def news(self) -> None:
        """Tell those that wait for this replica to read on that it has."""
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    async def _catch_up(self, connection: Connection, replay: Replay) -> None:
        try:
            if replay.beyond:
                await self._check_ends(connection, replay)
            await self._feed(connection, replay)
        except Exception:
            self._replays.pop(connection, None)
            connection.end(INTERNAL)
            raise
        del self._replays[connection]

    async def _feed(self, connection: Connection, replay: Replay) -> None:
        while True:
            await self._room(connection)
            if replay.lost:
                await self._from_bus(connection, replay)
            elif self._step(connection, replay):
                return
            elif replay.waits:
                await self._heard_news()
            else:
                await asyncio.sleep(0)

    def _step(self, connection: Connection, replay: Replay) -> bool:
        """Write one chunk of what memory holds; True where that was all, and the connection is live now."""
        frames = replay.take(_CHUNK)
        if frames:
            self.counts.deliveries += len(frames)
            connection.outbox.force(b"".join(frames))
        if not replay.level or connection.clogged:
            return False
        self._join(connection)
        return True

    async def _from_bus(self, connection: Connection, replay: Replay) -> None:
        def say_gap(lost: PositionLost) -> bytes:
            return self._gap(connection, NOT_KEPT, str(lost), replay.cursor)

        try:
            frames = await self._past.portion(replay, say_gap)
        except Unavailable as exc:
            await self._wait_for_bus(connection, exc)
            return
        self.counts.from_bus += 1
        await self._write(connection, frames)

    async def _write(self, connection: Connection, frames: list[bytes]) -> None:
        start = size = 0
        for number, frame in enumerate(frames, 1):
            size += len(frame)
            if size >= _CHUNK or number == len(frames):
                await self._room(connection)
                self.counts.deliveries += number - start
                connection.outbox.force(b"".join(frames[start:number]))
                start, size = number, 0

    async def _check_ends(self, connection: Connection, replay: Replay) -> None:
        """Believe a cursor that is ahead of this replica only as far as the bus confirms it."""
        ends: Mapping[int, int] = {}
        for _ in range(DOUBTS):
            ends = await self._ends(connection)
            if not replay.cut_by(ends):
                return
            await self._pause()
        for partition in replay.cut_by(ends):
            replay.skip(partition, self._history.head[partition])
            detail = f"partition {partition} ends at {ends[partition]}, before the cursor"
            connection.outbox.force(self._gap(connection, CURSOR_AHEAD, detail, replay.cursor))

    async def _ends(self, connection: Connection) -> Mapping[int, int]:
        while True:
            try:
                return await self._past.ends()
            except Unavailable as exc:
                await self._wait_for_bus(connection, exc)

    def _gap(self, connection: Connection, reason: str, detail: str, cursor: bytes) -> bytes:
        self.counts.gaps += 1
        return self._own_events.gap(connection.subscriber, reason, detail, cursor)

    async def _wait_for_bus(self, connection: Connection, exc: Unavailable) -> None:
        logger.info("connection %s waits for the bus to resume: %s", connection.subscriber.connection_id, exc)
        await self._pause()

    async def _room(self, connection: Connection) -> None:
        """Wait until there is room for a chunk; end the connection, and so this task, where that takes too long."""
        try:
            async with asyncio.timeout(self._options.drain_seconds):
                await connection.drained()
        except TimeoutError:
            connection.end(TOO_SLOW)
            await asyncio.sleep(0)

    async def _heard_news(self) -> None:
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._news)
