"""The aiohttp side of a connection: reads what the peer sends, and says in the Close frame why it ends."""

import asyncio
import logging
from typing import Protocol

from aiohttp import WSMsgType, web

from services.experience_api.hub.close_codes import INTERNAL, LEFT, LOST, TOO_BIG, TOO_MANY_PINGS, CloseReason, of_fault
from services.experience_api.hub.connection import Connection
from services.experience_api.wire.frames import pong_frame

logger = logging.getLogger(__name__)

_OK = 1000
_CONTROL = (WSMsgType.PING, WSMsgType.PONG)


class Listener(Protocol):
    """Takes what subscribers send."""

    async def received(self, connection: Connection, message: bytes) -> None:
        """A whole message has come. Never interrupted; the next one is read afterwards."""
        ...

    def oversized(self, connection: Connection) -> None:
        """A message above the limit was begun; the connection ends, for `TOO_BIG` unless this says otherwise."""
        ...


class Socket(web.WebSocketResponse):
    """aiohttp's WebSocket, whose every Close frame follows the connection's last event and carries its reason."""

    def __init__(
        self, connection: Connection, listener: Listener, *, protocols: tuple[str, ...], limit: int, patience: float
    ) -> None:
        """`limit` is the largest message taken, in bytes; `patience` the seconds in which a Close must be answered."""
        # No compression: each subscriber would need frames, and a window, of its own. No heartbeat and no automatic
        # pongs: all that is written goes through the outbox.
        super().__init__(timeout=patience, autoping=False, compress=False, max_msg_size=limit, protocols=protocols)
        self._connection = connection
        self._listener = listener
        self._patience = patience

    async def attend(self) -> CloseReason:
        """Read until the connection ends, close it, and return the reason."""
        connection = self._connection
        try:
            while connection.ending is None:
                await self._attend_once()
        except Exception:
            # aiohttp would answer with an HTTP status, which nobody can read after the upgrade.
            logger.exception("connection %s failed", connection.subscriber.connection_id)
            connection.end(INTERNAL)
        finally:
            connection.end(LOST)  # counts only where nothing else was said: this task is being cancelled
            await self._farewell()
        return connection.ending or LOST

    async def close(self, *, code: int = _OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close for the connection's reason, or for `code` where aiohttp closes by itself: on a fault, or a goodbye."""
        del message
        connection = self._connection
        connection.wait_ends()
        if code == TOO_BIG.code and connection.ending is None:
            self._listener.oversized(connection)
        connection.end(LEFT if code == _OK else of_fault(code))
        reason = connection.ending or LOST
        text = b"" if reason is LEFT else reason.text(connection.wait).encode()
        return await super().close(code=reason.code, message=text, drain=drain)

    async def _attend_once(self) -> None:
        connection = self._connection
        connection.wait_begins()
        try:
            message = await self.receive()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if connection.ending is None or task is None or task.uncancel() > 0:
                raise
            return
        finally:
            connection.wait_ends()
        if (message.type in _CONTROL or not message.data) and connection.chatters():
            who = connection.subscriber
            logger.warning(
                "client %s sends pings without a pause: connection %s ends", who.client_id, who.connection_id
            )
            connection.end(TOO_MANY_PINGS)
        elif message.type is WSMsgType.TEXT:
            await self._listener.received(connection, message.data.encode())
        elif message.type is WSMsgType.BINARY:
            await self._listener.received(connection, message.data)
        elif message.type is WSMsgType.PING:
            connection.outbox.offer(pong_frame(message.data))

    async def _farewell(self) -> None:
        """Close, but wait for no peer that neither reads nor answers.

        One that says goodbye with much waiting for it would otherwise keep that here until it chooses to read it.
        """
        connection = self._connection
        if connection.ending is LOST:
            connection.abort()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self.close()
                await connection.lost()
        except TimeoutError:
            connection.abort()
