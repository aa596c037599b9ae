"""Hearing and sending PostgreSQL's notifications, through any outage."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from shared.database.connections import Tell, ignore
from shared.database.engine import connect_arguments
from shared.database.errors import database_errors
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

Hear = Callable[[str | None], None]
"""Takes the payload of one notification, or None: any number of them may have been missed."""

_LIVELY = 5.0
"""Seconds between looks whether a silent connection still has a server at its end."""
_PAUSES = (0.1, 0.5, 1.0)
"""Seconds before each further try to connect; the last one repeats."""


class Listener:
    """Listens on some channels. Notifications are hints: whoever hears them looks for himself, now and then anyway."""

    def __init__(
        self,
        options: DatabaseOptions,
        channels: Mapping[str, Hear],
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._arguments = connect_arguments(options, "notifications")
        self._channels = channels
        self._clock = clock
        self._tell = tell or ignore
        self._place = options.place
        self._connection: asyncpg.Connection | None = None
        self._heard = False
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        options: DatabaseOptions,
        channels: Mapping[str, Hear],
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> AsyncIterator[Self]:
        """Listen for as long as the context lasts. Does not wait for the connection.

        Each `hear` is called with None after each connecting, the first one included. `tell` is told what keeps us
        from listening, and None when we do.
        """
        listener = cls(options, channels, tell, clock)
        async with Tasks() as tasks:
            tasks.keep(f"notifications of {options.place}", listener._keep_listening())
            yield listener

    async def say(self, channel: str, payload: str) -> None:
        """Notify others, and ourselves.

        On the connection that listens, what we say is heard with the answer; from another it would wake us once more.

        Raises:
            Unavailable: not connected at the moment; nobody was told.
        """
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise Unavailable(f"{self._place}: notifications are not connected")
            try:
                with database_errors(self._place):
                    await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
            except BaseException:
                connection.terminate()  # in the middle of a statement; a new one is opened
                raise

    async def _keep_listening(self) -> None:
        tries = 0
        while True:
            try:
                with database_errors(self._place):
                    async with self._connected() as connection:
                        tries = 0
                        await self._until_lost(connection)
            except Unavailable as exc:
                # A server that was never there is told of by whoever waits for it, and a connection that is lost and
                # at once had again is nobody's problem.
                if self._heard and tries == 1:
                    self._heard = False
                    logger.warning("notifications are not heard: %s", exc)
                self._tell(str(exc))
            except Exception as exc:
                logger.exception("notifications are not heard; it is tried again")
                self._tell(f"{self._place}: {exc}")
            await self._clock.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        connection: asyncpg.Connection = await asyncpg.connect(**self._arguments)
        try:
            for channel, hear in self._channels.items():
                await connection.add_listener(channel, _passing_on(hear))
            self._connection = connection
            self._heard = True
            self._tell(None)
            for hear in self._channels.values():
                hear(None)
            yield connection
        finally:
            self._connection = None
            connection.terminate()

    async def _until_lost(self, connection: asyncpg.Connection) -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        while not lost.is_set() and not connection.is_closed():
            try:
                async with asyncio.timeout(_LIVELY):
                    await lost.wait()
            except TimeoutError:
                async with self._turn:
                    await connection.execute("SELECT 1")
        raise Unavailable(f"{self._place}: the connection was lost")


def _passing_on(hear: Hear) -> Callable[[Any, int, str, object], None]:
    def callback(_connection: Any, _pid: int, _channel: str, payload: object) -> None:
        hear(str(payload))

    return callback
