"""The aiohttp side of a connection: reads what the peer sends, and closes with the connection's reason."""

import asyncio
import logging
import zlib
from typing import Protocol

import msgspec
from aiohttp import WSMsgType, web
from multidict import CIMultiDict

from services.experience_api.hub.close_codes import (
    INTERNAL,
    LEFT,
    LOST,
    PROTOCOL_ERROR,
    TOO_BIG,
    TOO_MANY_PINGS,
    TOO_SLOW,
    CloseReason,
    of_protocol_error,
)
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.progress import stall_timeout
from services.experience_api.wire.extensions import LARGEST_WINDOW
from services.experience_api.wire.frames import pong_frame

logger = logging.getLogger(__name__)

_OK = 1000
_UNLIMITED = 86_400.0
"""Seconds: `stall_timeout` limits the time that closing takes."""
_CONTROL = (WSMsgType.PING, WSMsgType.PONG)
CLIENT_HEARTBEAT = '{"type":"trelay.heartbeat"}'
"""A text message by which a script shows that it lives, and finds out whether it does: it cannot send pings."""
_HEARTBEAT_LIMIT = 64
"""Characters of it, with the spaces and line feeds that some libraries write."""


def is_heartbeat(text: str) -> bool:
    """Return whether a message is `CLIENT_HEARTBEAT`, however its JSON is written."""
    if text == CLIENT_HEARTBEAT:
        return True
    if len(text) > _HEARTBEAT_LIMIT or "trelay.heartbeat" not in text:
        return False
    try:
        return bool(msgspec.json.decode(text) == {"type": "trelay.heartbeat"})
    except (msgspec.DecodeError, UnicodeError):
        return False


class MessageHandler(Protocol):
    """Handles what subscribers send."""

    async def on_message(self, connection: Connection, message: bytes) -> None:
        """Handle one whole message. Never cancelled; the next message is read afterwards."""
        ...

    def on_oversized(self, connection: Connection) -> None:
        """Handle the start of a message above the limit. The connection ends with `TOO_BIG` unless this ends it."""
        ...


class Socket(web.WebSocketResponse):
    """aiohttp's WebSocket, whose Close frame always follows the connection's last event and carries its reason."""

    def __init__(
        self,
        connection: Connection,
        handler: MessageHandler,
        *,
        protocols: tuple[str, ...],
        extension: str | None,
        limit: int,
        close_timeout: float,
        slow_close_timeout: float,
    ) -> None:
        """`limit` is the largest message accepted, in bytes; of a compressed one, once it is inflated.

        `extension` is the negotiated compression, as the response has to name it.

        `close_timeout` is the seconds in which a peer has to answer a Close frame, or to read of what precedes it;
        `slow_close_timeout` that of a peer that is closed because it does not read.
        """
        # aiohttp inflates what arrives, and compresses nothing: each subscriber would need frames, and a window, of its
        # own. No heartbeat and no automatic pongs: everything written goes through the outbox. It refuses a message of
        # `max_msg_size` bytes, too.
        super().__init__(
            timeout=_UNLIMITED, autoping=False, compress=False, max_msg_size=limit + 1, protocols=protocols
        )
        self._connection = connection
        self._extension = extension
        self._handler = handler
        self._close_timeout = close_timeout
        self._slow_close_timeout = slow_close_timeout

    @property
    def peer_code(self) -> int | None:
        """The code with which the peer closed; None if it did not."""
        return self._close_code if self._closing else None

    def _handshake(self, request: web.BaseRequest) -> tuple[CIMultiDict[str], str | None, int, bool]:
        headers, protocol, compress, no_takeover = super()._handshake(request)
        if self._extension is not None:
            # aiohttp's own negotiation cannot ask the client to compress each message by itself.
            headers["Sec-WebSocket-Extensions"] = self._extension
            compress = LARGEST_WINDOW
        return headers, protocol, compress, no_takeover

    async def run(self) -> CloseReason:
        """Read until the connection ends, close it, and return the reason."""
        connection = self._connection
        try:
            while connection.ending is None:
                await self._receive_one()
        except Exception:
            # aiohttp would answer with an HTTP status, which the peer cannot read after the upgrade.
            subscriber = connection.subscriber
            logger.exception(
                "connection failed",
                extra={"client_id": subscriber.client_id, "connection_id": str(subscriber.connection_id)},
            )
            connection.end(INTERNAL)
        finally:
            connection.end(LOST)  # counts only if no reason was given: this task is being cancelled
            try:
                await self._close_or_abort()
            finally:
                connection.forget()
                _forget_frames(self.exception())  # which have this socket, which has the error
        return connection.ending or LOST

    async def close(self, *, code: int = _OK, message: bytes = b"", drain: bool = True) -> bool:
        """Close with the connection's reason, or with `code` if aiohttp closes because of an error or a Close frame."""
        del message
        connection = self._connection
        connection.end_wait()
        if isinstance(self.exception(), zlib.error):
            code = PROTOCOL_ERROR.code  # aiohttp reports no other error of a compressed message like this
        if code == TOO_BIG.code and connection.ending is None:
            self._handler.on_oversized(connection)
        connection.end(LEFT if code == _OK else of_protocol_error(code))
        reason = connection.ending or LOST
        text = b"" if reason is LEFT else reason.text(connection.wait).encode()
        # aiohttp would close the descriptor some seconds after it has buffered the frame. The kernel then resets the
        # connection at the peer's next pong, and the peer may never see the frame.
        try:
            async with stall_timeout(connection.acknowledged, self._patience(reason)):
                return await super().close(code=reason.code, message=text, drain=drain)
        except TimeoutError:
            connection.drop()
            return True

    def _patience(self, reason: CloseReason) -> float:
        return self._slow_close_timeout if reason is TOO_SLOW else self._close_timeout

    async def _receive_one(self) -> None:
        connection = self._connection
        connection.begin_wait()
        try:
            message = await self.receive()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if connection.ending is None or task is None or task.uncancel() > 0:
                raise
            return
        finally:
            connection.end_wait()
        beat = message.type is WSMsgType.TEXT and is_heartbeat(message.data)
        if (beat or message.type in _CONTROL or not message.data) and connection.count_empty_frame():
            subscriber = connection.subscriber
            logger.warning(
                "too many pings or empty messages; closing",
                extra={
                    "client_id": subscriber.client_id,
                    "connection_id": str(subscriber.connection_id),
                    "code": TOO_MANY_PINGS.code,
                },
            )
            connection.end(TOO_MANY_PINGS)
        elif beat:
            return
        elif message.type is WSMsgType.TEXT:
            await self._handler.on_message(connection, message.data.encode())
        elif message.type is WSMsgType.BINARY:
            await self._handler.on_message(connection, message.data)
        elif message.type is WSMsgType.PING:
            connection.outbox.offer(pong_frame(message.data))

    async def _close_or_abort(self) -> None:
        """Close, and abort if the peer neither reads nor answers in time.

        A peer that closes with much buffered for it would otherwise keep that memory here until it reads it.
        """
        connection = self._connection
        if connection.ending is LOST:
            connection.abort()
            return
        await self.close()
        try:
            async with stall_timeout(connection.acknowledged, self._close_timeout):
                await connection.wait_closed()
        except TimeoutError:
            connection.abort()


def _forget_frames(error: BaseException | None) -> None:
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
