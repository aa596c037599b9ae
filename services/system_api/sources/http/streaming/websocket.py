"""Connects to a WebSocket, subscribes and resumes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from yarl import URL

from services.system_api.sources.http.streaming.connection import Message
from services.system_api.sources.http.streaming.handshake import Handshake
from services.system_api.sources.http.streaming.options import LARGEST, WebSocketSourceOptions
from shared.errors import Malformed, SettingsError, Unavailable
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from shared.http.client.client import opened_client
from shared.http.client.failures import translated
from shared.runtime.clock import Clock

_CLOSE_TIMEOUT = 2.0
_TOO_BIG = 1009


class WebSocketUpstream:
    """An `Upstream` of the messages of a WebSocket. Use it only in the thread that made it."""

    reconnect_after: float | None = None

    def __init__(self, place: str, options: WebSocketSourceOptions, clock: Clock) -> None:
        """`place` is the path of the settings."""
        self._place = place
        self._options = options
        self._url = URL(options.url)
        self._resume = None if options.resume is None else Expression(options.resume)
        self._clock = clock
        self.name = f"WebSocket {self._url.with_query(None)}"
        self._handshake = Handshake(self.name)

    @asynccontextmanager
    async def connected(self, cursor: str | None) -> AsyncIterator[AsyncIterator[Message]]:
        """Connect; see `Upstream`."""
        options = self._options
        origin = self._url.with_scheme("https" if self._url.scheme == "wss" else "http")
        async with opened_client(self._place, origin, options, self._clock) as client:
            self._handshake.begin(client)
            with translated(self.name, options.timeout):
                credentials = await client.authentication.headers()
                url = self._url.update_query(client.authentication.query())
                if cursor is not None and options.cursor_parameter is not None:
                    url = url.update_query({options.cursor_parameter: cursor})
                try:
                    socket = await client.session.ws_connect(
                        url,
                        headers={**options.headers, **credentials},
                        heartbeat=options.heartbeat,
                        max_msg_size=LARGEST,
                        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT),
                    )
                except aiohttp.WSServerHandshakeError as exc:
                    self._handshake.check(exc.status, exc.headers or {}, client, credentials)
                    raise
            try:
                with translated(self.name, options.timeout):
                    for text in self._greeting(cursor):
                        await socket.send_str(text)
                yield self._messages(socket)
            finally:
                await socket.close()

    def _greeting(self, cursor: str | None) -> tuple[str, ...]:
        """Return the messages to send after connecting.

        Raises:
            SettingsError: `resume` fails.
        """
        if cursor is None or self._resume is None:
            return self._options.subscribe
        try:
            found = self._resume.value(JsonDocument(msgspec.json.encode({"cursor": cursor})))
        except Malformed as exc:
            raise SettingsError(f"{self._place}.resume: {exc}") from exc
        if found is None:
            raise SettingsError(f"{self._place}.resume: the expression gives nothing; expected a message")
        return (found.decode(),)

    async def _messages(self, socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Message]:
        while True:
            with translated(self.name, self._options.heartbeat):
                received = await socket.receive()
            if received.type is aiohttp.WSMsgType.TEXT:
                yield Message(received.data.encode(), self._clock.time())
            elif received.type is aiohttp.WSMsgType.BINARY:
                yield Message(received.data, self._clock.time())
            else:
                raise Unavailable(f"{self.name}: {self._ending(socket, received)}")

    def _ending(self, socket: aiohttp.ClientWebSocketResponse, received: aiohttp.WSMessage) -> str:
        if socket.close_code == _TOO_BIG and received.type is aiohttp.WSMsgType.ERROR:
            return f"a message is larger than {LARGEST} bytes"
        reason = f", {received.extra}" if received.extra else ""
        return f"closed with {socket.close_code}{reason}"
