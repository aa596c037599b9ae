"""Writes what a replay returns to its connection, as fast as the subscriber reads it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakSet

from services.experience_api.hub.close_codes import TOO_SLOW
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.progress import stall_timeout
from services.experience_api.stream.compressing import Compressing
from services.experience_api.stream.control_events import CURSOR_AHEAD, NOT_KEPT, ControlEvents
from services.experience_api.stream.feed import SHORTER_CHECKS
from services.experience_api.stream.history import History
from services.experience_api.stream.log_reader import LogReader
from services.experience_api.stream.replay import Replay
from shared.errors import PositionLost, Unavailable

logger = logging.getLogger(__name__)

CHUNK = 65_536
"""Bytes written to one subscriber before others have their turn; also the usual high-water mark of a transport."""

Pause = Callable[[], Awaitable[None]]
"""Waits before the next request to the bus."""


@dataclass(slots=True)
class CatchUpCounts:
    """Counts for metrics."""

    started: int = 0
    log_reads: int = 0
    deliveries: int = 0
    """Events written to connections that catch up, and to those with conflation."""
    gaps: int = 0
    conflated: int = 0
    """Events that connections with conflation did not receive, because a later one of their subject followed."""


class FromLog(NamedTuple):
    """What was read of the log."""

    frames: list[bytes]
    gaps: list[bytes]
    """Those of the frames that are not events."""


class ReplayWriter:
    """Writes to the connections that are not live."""

    def __init__(
        self,
        history: History,
        log_reader: LogReader,
        control_events: ControlEvents,
        compressing: Compressing,
        *,
        drain_timeout: float,
        pause: Pause,
    ) -> None:
        self.counts = CatchUpCounts()
        self._history = history
        self._log_reader = log_reader
        self._control_events = control_events
        self._compressing = compressing
        self._drain_timeout = drain_timeout
        self._pause = pause
        self._told: WeakSet[Replay] = WeakSet()
        """The replays whose subscribers are told of large events."""

    def tell(self, replay: Replay) -> None:
        """Announce large events with a control event before each."""
        self._told.add(replay)

    async def prepare(self, connection: Connection, frames: Sequence[bytes]) -> bool:
        """Compress the large ones of some frames; return whether there was any, which took time."""
        return await self._compressing.prepare(frames, (connection.outbox.window,))

    def force(self, connection: Connection, replay: Replay, frames: list[bytes]) -> None:
        """Write events that `prepare` has prepared, at once."""
        if frames:
            self.counts.deliveries += len(frames)
            announced = self._announced(connection, replay, frames)
            connection.outbox.force(self._compressing.join(announced, connection.outbox.window))

    async def write(
        self,
        connection: Connection,
        replay: Replay,
        frames: list[bytes],
        gaps: Sequence[bytes] = (),
        *,
        keep: bool = False,
    ) -> None:
        """Write frames; the gaps among them are not events.

        `keep` keeps their compressed form, for other connections that are written the same frames.
        """
        window = connection.outbox.window
        start = size = 0
        for number, frame in enumerate(frames, 1):
            size += len(frame)
            if size >= CHUNK or number == len(frames):
                await self.drained(connection)
                chunk = frames[start:number]
                if window:
                    await asyncio.sleep(0)  # the previous chunk took time
                    await self._compressing.prepare(chunk, (window,))
                self.counts.deliveries += sum(frame not in gaps for frame in chunk) if gaps else len(chunk)
                announced = self._announced(connection, replay, chunk)
                connection.outbox.force(self._compressing.join(announced, window, keep=keep))
                start, size = number, 0

    async def read_log(self, connection: Connection, replay: Replay) -> FromLog:
        """Read the next chunk of the log. While the bus is unavailable, return nothing after a pause."""
        gaps: list[bytes] = []

        def gap(lost: PositionLost) -> bytes:
            gaps.append(self._gap(connection, NOT_KEPT, str(lost), replay.cursor))
            return gaps[-1]

        try:
            frames = await self._log_reader.read_chunk(replay, gap)
        except Unavailable as exc:
            await self._wait_for_bus(connection, exc)
            return FromLog([], [])
        self.counts.log_reads += 1
        return FromLog(frames, gaps)

    async def verify_ahead(self, connection: Connection, replay: Replay) -> None:
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

    async def drained(self, connection: Connection) -> None:
        """Wait until the buffer is low. If the peer reads nothing, end the connection, which cancels this task."""
        try:
            async with stall_timeout(connection.acknowledged, self._drain_timeout):
                await connection.drained()
        except TimeoutError:
            connection.end(TOO_SLOW)
            await asyncio.sleep(0)

    def _announced(self, connection: Connection, replay: Replay, frames: list[bytes]) -> list[bytes]:
        if replay not in self._told:
            return frames
        return list(self._control_events.announced(connection.subscriber, frames))

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
