"""Connects to server-sent events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import aiohttp
from yarl import URL

from services.system_api.sources.http.streaming.connection import Message
from services.system_api.sources.http.streaming.event_stream import EventStreamParser
from services.system_api.sources.http.streaming.options import SseSourceOptions
from shared.errors import Unauthorized, Unavailable
from shared.http.client.client import HttpClient, opened_client
from shared.http.client.failures import UnusableResponse, translated
from shared.runtime.clock import Clock

EVENT_STREAM = "text/event-stream"
_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class EventStreamUpstream:
    """An `Upstream` of server-sent events."""

    def __init__(self, place: str, options: SseSourceOptions, clock: Clock) -> None:
        """`place` is the path of the settings."""
        self._place = place
        self._options = options
        self._url = URL(options.url)
        self._clock = clock
        self.name = f"GET {self._url.with_query(None)}"

    @asynccontextmanager
    async def connected(self, cursor: str | None) -> AsyncIterator[AsyncIterator[Message]]:
        """Connect; see `Upstream`."""
        options = self._options
        wanted = {"Accept": EVENT_STREAM, "Accept-Encoding": "identity", "Cache-Control": "no-store"}
        if cursor is not None:
            wanted["Last-Event-ID"] = cursor
        limits = aiohttp.ClientTimeout(total=None, sock_connect=options.timeout, sock_read=options.heartbeat)
        async with opened_client(self._place, self._url, options, self._clock) as client:
            with translated(self.name, options.heartbeat):
                credentials = await client.authentication.headers()
                url = self._url.update_query(client.authentication.query())
                headers = {**options.headers, **wanted, **credentials}
                response = await client.session.get(url, headers=headers, timeout=limits, allow_redirects=False)
            try:
                check_status(self.name, response.status, client, credentials)
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
            for event in parser.feed(chunk):
                yield Message(event.data, self._clock.time(), event.id, {"event": event.name or "message"}, event.cut)


def check_status(name: str, status: int, client: HttpClient, credentials: dict[str, str]) -> None:
    """Check the status of the response that begins a stream.

    Raises:
        Unavailable, Unauthorized, UnusableResponse: it does not begin one.
    """
    if status in {HTTPStatus.OK, HTTPStatus.SWITCHING_PROTOCOLS}:
        return
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        client.authentication.refused(credentials)
        raise Unauthorized(f"{name}: {status}; check `auth`")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRIED:
        raise Unavailable(f"{name}: {status}")
    raise UnusableResponse(f"{name}: {status}", status)
