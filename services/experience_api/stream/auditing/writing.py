"""Writes the audit of the connections of this replica: at an interval, and when one begins or ends."""

import asyncio
import contextlib
import logging
from collections import deque
from functools import partial
from typing import Any

import msgspec
from pydantic import Field

from services.experience_api.hub.connection import Connection
from services.experience_api.stream.auditing.trail import Trail
from shared.bus.protocol import Appender, Outgoing
from shared.errors import TooLarge, Unavailable
from shared.runtime.clock import Clock
from shared.settings import Options

logger = logging.getLogger(__name__)

_QUEUE = 20_000
"""Records that wait for the bus."""
_BATCH = 1000
_PAUSE = 1.0
_LAST_TIMEOUT = 2.0
"""Seconds for what is left at the end."""
_SLICE = 200
"""Connections after which other tasks run."""


class AuditOptions(Options):
    """The audit of what each connection was written, on the topic `trelay.audit`. Without it, there is none."""

    interval: float = Field(default=10.0, ge=1)
    """Seconds between two records of a connection that has received something. A crash leaves so much unknown."""


class Auditing:
    """The audit of one replica."""

    def __init__(self, appender: Appender, topic: str, node: str, options: AuditOptions, clock: Clock) -> None:
        """`node` is the name of the replica."""
        self._appender = appender
        self._topic = topic
        self._node = node
        self._interval = options.interval
        self._clock = clock
        self._trails: dict[Connection, Trail] = {}
        self._queue: deque[Outgoing] = deque()
        self._dropped = 0

    def begin(self, connection: Connection, cursor: bytes) -> None:
        """Audit a connection that was written its first frame, and receives what is after a cursor."""
        if connection.ending is not None:
            return
        subscriber = connection.subscriber
        trail = Trail(
            subscriber.client_id,
            str(subscriber.connection_id),
            self._node,
            subscriber.interest,
            measurable=connection.outbox.is_direct,
        )
        self._trails[connection] = trail
        connection.on_change = partial(self._change, connection, trail)
        trail.note(cursor.decode(), connection.progress())
        self._put(connection, trail.opened(self._clock.time()))

    def end(self, connection: Connection) -> None:
        """Write the last record of a connection, to which nothing more is written."""
        if (trail := self._trails.pop(connection, None)) is not None:
            self._note(connection, trail)
            self._put(connection, trail.closed(connection.ending, self._clock.time()))

    async def run(self) -> None:
        """Write until cancelled; what is left then is written last."""
        try:
            while True:
                await self._clock.sleep(self._interval)
                await self._measure()
                await self._write()
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError, Unavailable):
                async with asyncio.timeout(_LAST_TIMEOUT):
                    await self._flush()
            raise

    async def _measure(self) -> None:
        for number, (connection, trail) in enumerate(list(self._trails.items()), 1):
            if connection in self._trails:
                self._note(connection, trail)
                self._put_new(connection, trail)
            if number % _SLICE == 0:
                await asyncio.sleep(0)

    async def _write(self) -> None:
        while True:
            try:
                await self._flush()
            except Unavailable:
                await self._clock.sleep(_PAUSE)  # the bus reports that as its own problem
            else:
                return

    async def _flush(self) -> None:
        while self._queue:
            batch = [self._queue[number] for number in range(min(_BATCH, len(self._queue)))]
            await self._append(batch)
            for _ in batch:
                self._queue.popleft()
        if self._dropped:
            logger.error("audit records dropped", extra={"topic": self._topic, "count": self._dropped})
            self._dropped = 0

    async def _append(self, batch: list[Outgoing]) -> None:
        """Write some records; those above a lower limit of the topic are dropped, and no others."""
        try:
            await self._appender.append(self._topic, batch)
        except TooLarge:
            if len(batch) == 1:
                self._dropped += 1
                return
            for each in batch:
                await self._append([each])

    def _note(self, connection: Connection, trail: Trail) -> None:
        if connection.position is not None:
            cursor = connection.position().cursor.decode()
            trail.note(cursor, connection.progress())

    def _change(self, connection: Connection, trail: Trail, cursor: bytes) -> None:
        """Write what was written before a change: no range has events of what the connection received earlier."""
        trail.note(cursor.decode(), connection.progress())
        self._put_new(connection, trail)
        trail.change(connection.subscriber.interest)

    def _put_new(self, connection: Connection, trail: Trail) -> None:
        record = trail.delivered(self._clock.time())
        if record is not None:
            self._put(connection, record)

    def _put(self, connection: Connection, record: dict[str, Any]) -> None:
        if len(self._queue) >= _QUEUE:
            self._dropped += 1
            return
        key = connection.subscriber.client_id.encode()
        self._queue.append(Outgoing(key, msgspec.json.encode(record)))
