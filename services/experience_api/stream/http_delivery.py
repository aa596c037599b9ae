"""Serves subscribers that read an HTTP response: an event stream, or a batch of events at a time.

Both are connections of the same hub. So whatever holds for a WebSocket holds for them: the order, the cursors, the
gaps, the bound of what is buffered, and the drain.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from aiohttp import web

from services.experience_api.hub.audience import Subscriber
from services.experience_api.hub.close_codes import LEFT, LOST, CloseReason
from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.progress import stall_timeout
from services.experience_api.hub.responses import BatchOutbox, Latest, ResponseConnection, StreamOutbox
from services.experience_api.stream.callbacks import Served
from services.experience_api.stream.control_events import PRESENCE_CHANNEL
from services.experience_api.stream.delivery import Delivery, OnOpen
from services.experience_api.stream.options import DeliveryOptions
from services.experience_api.wire.messages import channel_of
from services.experience_api.wire.snapshot_cursor import is_within_snapshot

CLOSED = "trelay.closed"
"""The type of the last entry of an event stream, which says why it ends."""

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would collect events otherwise
}


_CATCH_UP_WAIT = 10.0
"""Seconds that a request may take that has events to look through, of which none is for the subscriber so far. One that
may wait for no time at all would never get through them."""

_SNAPSHOT_WAIT = 10.0
"""Seconds that a request may take within a snapshot, of which there is always more to answer with."""


async def _write_nothing() -> None:
    pass


class Batch(NamedTuple):
    """The answer to one request for events."""

    events: list[bytes]
    cursor: bytes
    """Where the next request resumes."""
    ending: CloseReason | None
    """Why the service ended the request; None if it was answered in the usual way."""
    wait: float | None = None
    """Seconds to wait before the next request, in place of those of the reason."""

    def encoded(self, events: Sequence[bytes], cursor: bytes) -> bytes:
        """Return the body of the response with some of the events, and the cursor behind them."""
        reason = self.ending
        closed = {} if reason is None else {"closed": {"code": reason.code, "reason": reason.text(self.wait)}}
        head = json.dumps({"cursor": cursor.decode(), **closed})[:-1].encode()
        return b'%b, "events": [%b]}' % (head, b",".join(events))


class HttpDelivery:
    """Serves subscribers over HTTP."""

    def __init__(self, delivery: Delivery, options: DeliveryOptions) -> None:
        self._delivery = delivery
        self._options = options
        self._latest = Latest()

    async def stream(self, request: web.Request, subscriber: Subscriber, cursor: str | None, on_open: OnOpen) -> Served:
        """Respond with an event stream that begins at a cursor, until the connection ends.

        Raises (before the response):
            Refused: as `Delivery.transport_of`.
        """
        transport = self._delivery.transport_of(request)
        outbox = StreamOutbox(transport, self._options.hub.outbox_bytes, self._latest)
        connection = self._connection(request, subscriber, outbox, transport)
        response = web.StreamResponse(headers=_HEADERS)
        response.force_close()
        with self._delivery.serving():
            await response.prepare(request)
            if request.transport is None:
                return Served(response, LOST)
            transport.set_protocol(connection)
            self._delivery.start(connection, cursor, on_open)
            try:
                await connection.wait_ended()
            finally:
                connection.end(LOST)  # counts only if no reason was given: this task is being cancelled
                try:
                    await self._close(connection, response)
                finally:
                    connection.forget()
        return Served(response, connection.ending or LOST)

    async def batch(
        self,
        request: web.Request,
        subscriber: Subscriber,
        cursor: str | None,
        on_open: OnOpen,
        wait: float,
        probe: Callable[[], Awaitable[None]] = _write_nothing,
    ) -> Batch:
        """Return the next events after a cursor, or none after `wait` seconds. Without a cursor, return where to begin.

        `probe` writes something to the peer that means nothing; after this has returned it is not called any more.

        The cursor of an answer without events lies behind those that are for others: a subscriber whose channels are
        quiet does not look through them again, and does not fall behind what the bus keeps.

        Raises:
            Refused: as `Delivery.transport_of`.
        """
        transport = self._delivery.transport_of(request)
        if cursor is not None and is_within_snapshot(cursor):
            wait = max(wait, _SNAPSHOT_WAIT)
        loop = asyncio.get_running_loop()

        def complete() -> None:
            loop.call_soon(connection.end, LEFT)  # not while the hub goes through its connections

        limit, waits = self._options.hub.outbox_bytes, cursor is not None
        outbox = BatchOutbox(transport, limit, complete, waits=waits, completes=_is_not_of_presence)
        connection = self._connection(request, subscriber, outbox, transport, probe=probe)
        before = transport.get_protocol()
        with self._delivery.serving():
            transport.set_protocol(connection)
            try:
                self._delivery.start(connection, cursor, on_open)
                await _within(wait, connection.wait_ended())
                await _within(_CATCH_UP_WAIT - wait, self._delivery.caught_up(connection))
                reached = _reached(connection, outbox)
            finally:
                connection.end(LEFT)
                connection.forget()
                outbox.forget()
                if not transport.is_closing():
                    transport.set_protocol(before)
        ending = None if connection.ending is LEFT else connection.ending
        return Batch(outbox.events, reached, ending, connection.wait)

    def _connection(
        self,
        request: web.Request,
        subscriber: Subscriber,
        outbox: Outbox,
        transport: asyncio.Transport,
        *,
        probe: Callable[[], Awaitable[None]] | None = None,
    ) -> ResponseConnection:
        peer = transport.get_extra_info("socket")
        remove = self._delivery.remove
        return ResponseConnection(subscriber, outbox, transport, request.protocol, remove, peer, probe=probe)

    async def _close(self, connection: ResponseConnection, response: web.StreamResponse) -> None:
        """Say why the stream ends, and abort if the peer does not read it in time."""
        reason = connection.ending or LOST
        if reason is LOST:
            connection.abort()
            return
        try:
            async with stall_timeout(connection.acknowledged, self._options.close_timeout):
                await response.write(closing(reason, connection.wait))
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            connection.abort()


def _is_not_of_presence(message: bytes) -> bool:
    """Return whether an event is a reason to answer: each answer and each request is an event of presence by itself."""
    return channel_of(message) != PRESENCE_CHANNEL


async def _within(seconds: float, waiting: Awaitable[None]) -> None:
    """Wait for so many seconds at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiting


def _reached(connection: ResponseConnection, outbox: BatchOutbox) -> bytes:
    """Return the cursor behind what was collected; without events, behind those that are for others."""
    if outbox.events or connection.ending is not None or connection.position is None:
        return outbox.cursor
    return connection.position().cursor


def closing(reason: CloseReason, wait: float | None) -> bytes:
    """Return the last entry of an event stream."""
    wait = reason.wait if wait is None else wait
    retry = b"" if wait is None else b"retry: %d\n" % (wait * 1000)
    data = {"code": reason.code, "reason": reason.name, **({} if wait is None else {"wait": round(wait, 1)})}
    return b"%bevent: %b\ndata: %b\n\n" % (retry, CLOSED.encode(), json.dumps(data).encode())
