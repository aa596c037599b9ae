"""Connects to server-sent events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from services.system_api.sources.http.streaming.connection import Message
from services.system_api.sources.http.streaming.event_stream import EventStreamParser
from services.system_api.sources.http.streaming.handshake import Handshake
from services.system_api.sources.http.streaming.options import SseSourceOptions
from shared.http.client.client import opened_client
from shared.http.client.failures import UnusableResponse, translated
from shared.runtime.clock import Clock

EVENT_STREAM = "text/event-stream"


class EventStreamUpstream:
    """An `Upstream` of server-sent events."""

    def __init__(self, place: str, options: SseSourceOptions, clock: Clock) -> None:
        """`place` is the path of the settings."""
        self._place = place
        self._options = options
        self._url = URL(options.url)
        self._clock = clock
        self.name = f"GET {self._url.with_query(None)}"
        self.reconnect_after: float | None = None
        self._handshake = Handshake(self.name)

    @asynccontextmanager
    async def connected(self, cursor: str | None) -> AsyncIterator[AsyncIterator[Message]]:
        """Connect; see `Upstream`."""
        options = self._options
        wanted = {"Accept": EVENT_STREAM, "Accept-Encoding": "identity", "Cache-Control": "no-store"}
        if cursor is not None:
            wanted["Last-Event-ID"] = cursor
        limits = aiohttp.ClientTimeout(total=None, sock_connect=options.timeout, sock_read=options.heartbeat)
        async with opened_client(self._place, self._url, options, self._clock) as client:
            self._handshake.begin(client)
            with translated(self.name, options.heartbeat):
                credentials = await client.authentication.headers()
                url = self._url.update_query(client.authentication.query())
                headers = {**options.headers, **wanted, **credentials}
                response = await client.session.get(url, headers=headers, timeout=limits, allow_redirects=False)
            try:
                self._handshake.check(response.status, response.headers, client, credentials)
                if response.content_type != EVENT_STREAM:
                    raise UnusableResponse(f"{self.name}: found {response.content_type}; expected {EVENT_STREAM}")
                yield self._messages(response)
            finally:
                response.close()

    async def _messages(self, response: aiohttp.ClientResponse) -> AsyncIterator[Message]:
        parser = EventStreamParser(self._options.message_limit)
        chunks = response.content.iter_any()
        while True:
            with translated(self.name, self._options.heartbeat):
                chunk = await anext(chunks, b"")
            if not chunk:
                return
            events = parser.feed(chunk)
            if parser.retry is not None:
                self.reconnect_after = min(parser.retry, self._options.longest_hold)
            for event in events:
                yield Message(event.data, self._clock.time(), event.id, {"event": event.name or "message"}, event.cut)
