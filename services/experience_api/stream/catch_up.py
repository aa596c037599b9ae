"""Serves one subscriber from its cursor until it is live: first from the bus, then from memory.

A subscriber comes here with a cursor, or because it read too slowly to be served live. Each has its own task meanwhile,
and no other subscriber waits for it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self
from weakref import WeakSet

from pydantic import Field

from services.experience_api.hub.close_codes import INTERNAL, TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import Position
from services.experience_api.hub.progress import stall_timeout
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import CURSOR_AHEAD, NOT_KEPT, ControlEvents
from services.experience_api.stream.feed import SHORTER_CHECKS
from services.experience_api.stream.history import History
from services.experience_api.stream.log_reader import LogReader, LogReaderOptions
from services.experience_api.stream.replay import Progress, Replay
from services.experience_api.stream.resubscribing import Resubscription
from services.experience_api.wire.cursor import Vector
from shared.errors import PositionLost, Unavailable
from shared.runtime.tasks import Tasks
from shared.settings import Options

logger = logging.getLogger(__name__)

_CHUNK = 65_536
"""Bytes written to one subscriber before others have their turn; also the usual high-water mark of a transport."""

Pause = Callable[[], Awaitable[None]]
"""Waits before the next request to the bus."""


class CatchUpOptions(Options):
    """How subscribers catch up."""

    log_reader: LogReaderOptions = LogReaderOptions()
    """How much of the publish topic is read again at a time."""

    drain_timeout: float = Field(default=30.0, gt=0)
    """Seconds in which a subscriber has to read something of what is buffered for it, however little. It is closed as
    too slow otherwise, and has as many seconds again in which the Close frame may reach it."""


@dataclass(slots=True)
class CatchUpCounts:
    """Counts for metrics."""

    started: int = 0
    log_reads: int = 0
    deliveries: int = 0
    """Events written to connections that catch up."""
    gaps: int = 0


class _Running(NamedTuple):
    """One subscriber that catches up."""

    replay: Replay
    task: asyncio.Task[None]


class CatchUp:
    """Owns the tasks of the subscribers that catch up."""

    def __init__(
        self,
        history: History,
        log_reader: LogReader,
        control_events: ControlEvents,
        join: Callable[[Connection], None],
        compressing: Compressing,
        *,
        options: CatchUpOptions,
        pause: Pause,
    ) -> None:
        """`join` makes a connection live. It is called in the same step in which nothing is left to send."""
        self.counts = CatchUpCounts()
        self._history = history
        self._log_reader = log_reader
        self._control_events = control_events
        self._join = join
        self._compressing = compressing
        self._options = options
        self._pause = pause
        self._tasks = Tasks()
        self._replays: dict[Connection, _Running] = {}
        self._told: WeakSet[Replay] = WeakSet()
        """The replays whose subscribers are told of large events."""
        self._progress: asyncio.Future[None] | None = None
        self._changes: dict[Connection, list[Resubscription]] = {}

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._tasks.cancel_all()

    def start(self, connection: Connection, vector: Vector, *, tells: bool = False) -> None:
        """Send a connection that is in no audience everything from a vector on, then make it live.

        `tells` announces large events with a control event before each.
        """
        interest = connection.subscriber.interest
        replay = Replay(self._history, vector, interest.matches, interest.wants)
        if tells:
            self._told.add(replay)
        self.counts.started += 1
        if not (connection.congested or replay.ahead or connection.outbox.window) and (
            self._send(connection, replay, *replay.take(_CHUNK)) is Progress.LIVE
        ):
            return
        name = f"catch up {connection.subscriber.connection_id}"
        self._replays[connection] = _Running(replay, self._tasks.start(name, self._run(connection, replay)))

    def change(self, connection: Connection, change: Resubscription) -> bool:
        """Change what a connection receives once it has been written what was read for it.

        Returns False if it does not catch up, which changes nothing.
        """
        if connection not in self._replays:
            return False
        self._changes.setdefault(connection, []).append(change)
        self.notify_progress()
        return True

    def take_changes(self, connection: Connection) -> list[Resubscription]:
        """Return the changes of a connection that have not been made, and forget them."""
        return self._changes.pop(connection, [])

    def cancel(self, connection: Connection) -> None:
        """Send a connection nothing more."""
        running = self._replays.pop(connection, None)
        if running is not None:
            running.task.cancel()

    def cancel_all(self) -> list[Connection]:
        """Cancel every connection that is catching up, and return them."""
        cancelled = list(self._replays)
        for connection in cancelled:
            self.cancel(connection)
        return cancelled

    def position(self, connection: Connection) -> Position | None:
        """Return how far a connection has been served; None if it does not catch up."""
        running = self._replays.get(connection)
        return None if running is None else Position(running.replay.cursor, running.replay.lag, live=False)

    @property
    def active(self) -> int:
        """How many connections are catching up."""
        return len(self._replays)

    def notify_progress(self) -> None:
        """Wake the replays that wait for this replica to read on."""
        if self._progress is not None:
            self._progress.set_result(None)
            self._progress = None

    async def _run(self, connection: Connection, replay: Replay) -> None:
        try:
            if replay.ahead:
                await self._verify_ahead(connection, replay)
            await self._catch_up(connection, replay)
        except Exception:
            self._replays.pop(connection, None)
            connection.end(INTERNAL)
            raise
        del self._replays[connection]

    async def _catch_up(self, connection: Connection, replay: Replay) -> None:
        while True:
            await self._drained(connection)
            for change in self.take_changes(connection):
                change.make_in(replay, connection, self._control_events)
            match await self._step(connection, replay):
                case Progress.LIVE:
                    return
                case Progress.READ_LOG:
                    await self._send_from_log(connection, replay)
                case Progress.WAIT:
                    await self._wait_for_progress()
                case Progress.TAKE:
                    await asyncio.sleep(0)

    async def _step(self, connection: Connection, replay: Replay) -> Progress:
        """Write one chunk of what memory holds; make the connection live if that was all and its buffer is low."""
        frames, progress = replay.take(_CHUNK)
        if await self._compressing.prepare(frames, (connection.outbox.window,)):
            progress = Progress.TAKE  # this replica may have read on meanwhile
        return self._send(connection, replay, frames, progress)

    def _send(self, connection: Connection, replay: Replay, frames: list[bytes], progress: Progress) -> Progress:
        if frames:
            self.counts.deliveries += len(frames)
            announced = self._announced(connection, replay, frames)
            connection.outbox.force(self._compressing.join(announced, connection.outbox.window))
        if progress is Progress.LIVE:
            if connection.congested:
                return Progress.TAKE  # once it has drained
            self._join(connection)
        return progress

    async def _send_from_log(self, connection: Connection, replay: Replay) -> None:
        gaps: list[bytes] = []

        def gap(lost: PositionLost) -> bytes:
            gaps.append(self._gap(connection, NOT_KEPT, str(lost), replay.cursor))
            return gaps[-1]

        try:
            frames = await self._log_reader.read_chunk(replay, gap)
        except Unavailable as exc:
            await self._wait_for_bus(connection, exc)
            return
        self.counts.log_reads += 1
        await self._write(connection, replay, frames, gaps)

    async def _write(self, connection: Connection, replay: Replay, frames: list[bytes], gaps: list[bytes]) -> None:
        """Write frames; the gaps among them are not events."""
        window = connection.outbox.window
        start = size = 0
        for number, frame in enumerate(frames, 1):
            size += len(frame)
            if size >= _CHUNK or number == len(frames):
                await self._drained(connection)
                chunk = frames[start:number]
                if window:
                    await asyncio.sleep(0)  # the previous chunk took time
                    await self._compressing.prepare(chunk, (window,))
                self.counts.deliveries += sum(frame not in gaps for frame in chunk) if gaps else len(chunk)
                announced = self._announced(connection, replay, chunk)
                # No other connection is written these frames: each has the cursor of this one.
                connection.outbox.force(self._compressing.join(announced, window, keep=False))
                start, size = number, 0

    def _announced(self, connection: Connection, replay: Replay, frames: list[bytes]) -> list[bytes]:
        if replay not in self._told:
            return frames
        return list(self._control_events.announced(connection.subscriber, frames))

    async def _verify_ahead(self, connection: Connection, replay: Replay) -> None:
        """Accept a cursor that is ahead of this replica only as far as the bus confirms it."""
        ends: Mapping[int, int] = {}
        for _ in range(SHORTER_CHECKS):
            ends = await self._ends(connection)
            if not replay.beyond(ends):
                return
            await self._pause()
        for partition in replay.beyond(ends):
            replay.skip(partition, self._history.head[partition])
            detail = f"partition {partition} ends at {ends[partition]}, before the cursor"
            connection.outbox.force(self._gap(connection, CURSOR_AHEAD, detail, replay.cursor))

    async def _ends(self, connection: Connection) -> Mapping[int, int]:
        while True:
            try:
                return await self._log_reader.ends()
            except Unavailable as exc:
                await self._wait_for_bus(connection, exc)

    def _gap(self, connection: Connection, reason: str, detail: str, cursor: bytes) -> bytes:
        self.counts.gaps += 1
        return self._control_events.gap(connection.subscriber, reason, detail, cursor)

    async def _wait_for_bus(self, connection: Connection, exc: Unavailable) -> None:
        subscriber = connection.subscriber
        # The feed logs the outage itself.
        logger.debug(
            "bus unavailable; catch-up waits",
            extra={
                "client_id": subscriber.client_id,
                "connection_id": str(subscriber.connection_id),
                "error": str(exc),
            },
        )
        await self._pause()

    async def _drained(self, connection: Connection) -> None:
        """Wait until the buffer is low. If the peer reads nothing, end the connection, which cancels this task."""
        try:
            async with stall_timeout(connection.acknowledged, self._options.drain_timeout):
                await connection.drained()
        except TimeoutError:
            connection.end(TOO_SLOW)
            await asyncio.sleep(0)

    async def _wait_for_progress(self) -> None:
        if self._progress is None:
            self._progress = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._progress)
