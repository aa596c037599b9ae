"""Receives and sends PostgreSQL's notifications, and reconnects after outages."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg

from shared.database.arguments import connect_arguments
from shared.database.connecting import open_connection
from shared.database.errors import database_errors
from shared.database.options import DatabaseOptions
from shared.database.pool import OnUse, ignore
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

OnNotification = Callable[[str | None], None]
"""Handles the payload of a notification; None: any number of notifications may have been missed."""

_CHECK_INTERVAL = 5.0
"""Seconds after which a silent connection is checked with a statement."""
_PAUSES = (0.1, 0.5, 1.0)
"""Seconds before each further attempt to connect; the last one repeats."""


class Listener:
    """Listens on channels. A notification is a hint: its receivers also check at an interval of their own."""

    def __init__(
        self,
        options: DatabaseOptions,
        channels: Mapping[str, OnNotification],
        on_use: OnUse | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._arguments = connect_arguments(options, "notifications")
        self._channels = channels
        self._clock = clock
        self._on_use = on_use or ignore
        self._address = options.address
        self._connection: asyncpg.Connection | None = None
        self._connected_once = False
        self._lost_at: float | None = None
        """Since when the connection is lost, once that was logged."""
        self._statement = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        options: DatabaseOptions,
        channels: Mapping[str, OnNotification],
        on_use: OnUse | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> AsyncIterator[Self]:
        """Listen for as long as the context lasts. Does not wait for the connection.

        The handler of each channel is called with None whenever the connection was opened, the first time included.
        `on_use` is called with why it cannot be opened, and with None when it is.
        """
        listener = cls(options, channels, on_use, clock)
        async with Tasks() as tasks:
            tasks.keep(f"notifications of {options.address}", listener._keep_listening())
            yield listener

    async def notify(self, channel: str, payload: str) -> None:
        """Send a notification to all listeners, this one included.

        It is sent on the connection that listens, so it comes back with the response and does not wake this process
        once more.

        Raises:
            Unavailable: not connected now; the notification was not sent.
        """
        async with self._statement:
            connection = self._connection
            if connection is None:
                raise Unavailable(f"{self._address}: not connected for notifications")
            try:
                with database_errors(self._address):
                    await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
            except BaseException:
                connection.terminate()  # in the middle of a statement; another one is opened
                raise

    async def _keep_listening(self) -> None:
        attempts = 0
        while True:
            try:
                with database_errors(self._address):
                    async with self._opened_connection() as connection:
                        attempts = 0
                        await self._until_lost(connection)
            except Unavailable as exc:
                # A lost connection that is back at the first attempt is no outage. A server that was never there is
                # reported by those that wait for it.
                if self._connected_once and self._lost_at is None and attempts == 1:
                    self._lost_at = self._clock.monotonic()
                    logger.warning(
                        "lost LISTEN connection; polling until reconnected",
                        extra={"component": "database", "channels": list(self._channels), "error": str(exc)},
                    )
                self._on_use(str(exc))
            except Exception as exc:
                if self._lost_at is None:
                    self._lost_at = self._clock.monotonic()
                logger.exception(
                    "LISTEN connection failed; reconnecting",
                    extra={"component": "database", "retry_in_s": _pause(attempts)},
                )
                self._on_use(f"{self._address}: {exc}")
            await self._clock.sleep(_pause(attempts))
            attempts += 1

    @asynccontextmanager
    async def _opened_connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await open_connection(self._arguments)
        try:
            for channel, handler in self._channels.items():
                await connection.add_listener(channel, _callback(handler))
            self._connection = connection
            self._connected_once = True
            self._on_use(None)
            for handler in self._channels.values():
                handler(None)
            self._log_reconnected()
            yield connection
        finally:
            self._connection = None
            connection.terminate()

    async def _until_lost(self, connection: asyncpg.Connection) -> None:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        while not lost.is_set() and not connection.is_closed():
            try:
                async with asyncio.timeout(_CHECK_INTERVAL):
                    await lost.wait()
            except TimeoutError:
                async with self._statement:
                    await connection.execute("SELECT 1")
        raise Unavailable(f"{self._address}: the connection was lost")

    def _log_reconnected(self) -> None:
        if self._lost_at is not None:
            after = round(self._clock.monotonic() - self._lost_at, 3)
            fields = {"component": "database", "channels": list(self._channels), "after_s": after}
            logger.info("LISTEN connection restored", extra=fields)
        self._lost_at = None


def _pause(attempts: int) -> float:
    return _PAUSES[min(attempts, len(_PAUSES) - 1)]


def _callback(handler: OnNotification) -> Callable[[Any, int, str, object], None]:
    def callback(_connection: Any, _pid: int, _channel: str, payload: object) -> None:
        handler(str(payload))

    return callback
