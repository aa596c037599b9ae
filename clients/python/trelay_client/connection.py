"""Registers and connects, one attempt at a time: does what `state` decides."""

import asyncio
import os
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from http import HTTPStatus
from types import SimpleNamespace
from typing import NamedTuple

import aiohttp
from yarl import URL

from trelay_client.channels.changes import Changes
from trelay_client.channels.changing import Changing
from trelay_client.clock import Clock
from trelay_client.credentials import ClientCredentials
from trelay_client.messages import Messages
from trelay_client.progress import bytes_received
from trelay_client.state import ANSWER, CONNECTED, Frame, Reconnect, SubscriptionState, UnreadableFrame
from trelay_client.tasks import ended, started

CONNECT_TIMEOUT = 10.0
_MISSED_HEARTBEATS = 2.5
"""Heartbeats without any frame, not even a ping, after which a connection counts as lost."""
_FRAME_LIMIT = 16 * 1024 * 1024
_WINDOW = 15
"""Offer compression, with the largest window (RFC 7692)."""
_SSL_NOISE = re.compile(r"^\[SSL[^]]*\] | \(_ssl\.c:\d+\)$")
DETAIL_LIMIT = 300
_NOT_SUCCESSFUL = 300
"""From this status on, a response is a redirect or an error."""


class Parts(NamedTuple):
    """What a program has given to its subscription, to use it meanwhile."""

    messages: Messages | None
    changes: Changes | None
    """The channels, where they are not in the query."""


class Connection:
    """Registers and connects, one attempt at a time."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        refusals: "Refusals",
        base: URL,
        query: Mapping[str, str],
        state: SubscriptionState,
        clock: Clock,
        parts: Parts,
    ) -> None:
        """`query` is sent with each request for the stream, its `since` until there is a cursor."""
        self._session = session
        self._refusals = refusals
        self._base = base
        self._query = query
        self._state = state
        self._clock = clock
        self._parts = parts

    async def register(self, credentials: ClientCredentials) -> tuple[str | None, Reconnect | None]:
        """Return a token, or the reconnection after a failure."""
        # Without underscores: nginx drops names with them unless it is told not to.
        headers = {"Client-Id": credentials.client_id, "Client-Secret": credentials.client_secret}
        try:
            # A redirect is not followed: the secret would go to the address that the response names.
            request = self._session.post(self._base / "consumers", headers=headers, allow_redirects=False)
            async with request as response:
                if response.status >= _NOT_SUCCESSFUL:
                    return None, self._refused(response.status, response.headers, registering=True)
                token = (await response.json())["token"]
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as exc:
            return None, self._state.lost(f"cannot register at {self._base}: {describe(exc)}", 0.0)
        return str(token), None

    async def frames(self, token: str) -> AsyncGenerator[Frame | UnreadableFrame | Reconnect, None]:
        """Yield the frames of one connection, and the reconnection at its end."""
        self._state.connecting()
        started = self._clock.monotonic()
        try:
            socket = await self._connect(token)
        except aiohttp.WSServerHandshakeError as exc:
            yield self._refused(exc.status, exc.headers or {}, registering=False)
            return
        except (aiohttp.ClientError, OSError) as exc:
            yield self._state.lost(f"cannot connect to {self._base}: {describe(exc)}", 0.0)
            return
        timeout, arrived = CONNECT_TIMEOUT, bytes_received(socket)
        changing = Changing(self._session, self._base, token, self._parts.changes, self._clock)
        writing = _Writing(socket, self._parts.messages, changing, answers=self._query.get("heartbeat") == "answer")
        try:
            while True:
                try:
                    message = await socket.receive(timeout=timeout)
                except TimeoutError:
                    # A large frame on a slow line may take any time, as long as more of it arrives.
                    before, arrived = arrived, bytes_received(socket)
                    if arrived == before:
                        raise
                    continue
                arrived = bytes_received(socket)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frame = self._state.received(message.data)
                if isinstance(frame, Frame) and frame.event.get("type") == CONNECTED and frame.own:
                    timeout = _receive_timeout(frame)
                    writing.begin(frame)
                if frame is not None and not await writing.takes(frame):
                    yield frame
            reason = message.extra if isinstance(message.extra, str) else ""
            yield self._ended(socket.close_code, reason, self._clock.monotonic() - started)
        except TimeoutError:
            yield self._state.lost(f"received nothing for {timeout:g} s", self._clock.monotonic() - started)
        finally:
            try:
                await writing.end()
            finally:
                with suppress(TimeoutError):
                    await socket.close()

    async def _connect(self, token: str) -> aiohttp.ClientWebSocketResponse[bool]:
        query = {**self._query, **(self._parts.changes.query if self._parts.changes is not None else {})}
        if self._state.cursor is not None:
            query.pop("since", None)
            query["cursor"] = self._state.cursor
        headers = {"Authorization": f"Bearer {token}"}
        address = (self._base / "ws" / "publish").with_query(query)
        closing = aiohttp.ClientWSTimeout(ws_close=2.0)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return await self._session.ws_connect(
                address, headers=headers, max_msg_size=_FRAME_LIMIT, timeout=closing, autoping=True, compress=_WINDOW
            )

    def _ended(self, code: int | None, reason: str, connected_s: float) -> Reconnect:
        if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return self._state.lost("connection lost", connected_s)
        return self._state.closed(int(code), reason, connected_s)

    def _refused(self, status: int, headers: Mapping[str, str], *, registering: bool) -> Reconnect:
        after = headers.get("Retry-After", "")
        wait = float(after) if after.isdecimal() else None
        known = self._refusals.of_relay
        return self._state.refused(status, self._refusals.detail, wait, registering=registering, of_relay=known)


class _Writing:
    """Sends messages over one connection, and changes its channels."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse[bool],
        messages: Messages | None,
        changing: Changing,
        *,
        answers: bool,
    ) -> None:
        """`answers` is whether heartbeats are answered."""
        self._socket = socket
        self._answers = answers
        self._messages = messages
        self._changing = changing
        self._added = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, connected: Frame) -> None:
        """Send messages from now on: the relay has accepted the connection."""
        self._changing.begin(connected)
        if self._messages is None or self._task is not None:
            return
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._added.set)

        data = connected.event.get("data")
        largest = data.get("largest_message") if isinstance(data, dict) else None
        self._messages.connected(largest if isinstance(largest, int) else None, wake)
        self._task = started("trelay messages", self._write(self._messages))

    async def takes(self, frame: Frame | UnreadableFrame) -> bool:
        """Answer a heartbeat, or handle the answer to a message; return False for what is to be yielded."""
        if not isinstance(frame, Frame) or not frame.own:
            return False
        if frame.heartbeat:
            if self._answers:
                with suppress(aiohttp.ClientError, OSError):  # the connection is lost, which ends the reading too
                    await self._socket.send_str(ANSWER)
            return frame.cursor is None
        self._changing.received(frame)
        return self._messages is not None and self._messages.received(frame.event)

    async def end(self) -> None:
        try:
            await self._changing.end()
        finally:
            if self._task is not None and self._messages is not None:
                try:
                    await ended(self._task)
                finally:
                    self._messages.disconnected()

    async def _write(self, messages: Messages) -> None:
        with suppress(aiohttp.ClientError, OSError):  # the connection is lost, which ends the reading too
            while True:
                self._added.clear()
                while (text := messages.next()) is not None:
                    await self._socket.send_str(text)
                await self._added.wait()


class Refusals:
    """Reads why a request was refused, for WebSockets too: aiohttp drops the body of that response."""

    def __init__(self) -> None:
        self.detail = ""
        """The detail of the last refusal."""
        self.of_relay = False
        """Whether the relay has refused, and not something in front of it, such as a proxy without a back end."""

    def tracing(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._ended)
        return config

    async def _ended(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        self.of_relay = False
        if params.response.status < _NOT_SUCCESSFUL:
            self.detail = "not a WebSocket endpoint"
        else:
            self.detail, self.of_relay = await _detail(params.response)


def _receive_timeout(frame: Frame) -> float:
    data = frame.event.get("data")
    heartbeat = data.get("heartbeat") if isinstance(data, dict) else None
    return float(heartbeat) * _MISSED_HEARTBEATS if isinstance(heartbeat, int | float) and heartbeat > 0 else 60.0


async def _detail(response: aiohttp.ClientResponse) -> tuple[str, bool]:
    """Return the text of an error response, and whether it is of the relay.

    The text is the detail of a problem (RFC 9457), the body, or the status. Each problem of the relay has a code.
    """
    if response.status < HTTPStatus.BAD_REQUEST:
        return f"moved to {response.headers.get('Location', 'nowhere')[:DETAIL_LIMIT]}", False
    text = (await response.text(errors="replace"))[:DETAIL_LIMIT]
    if response.content_type == "application/problem+json":
        with suppress(ValueError):
            problem = await response.json(content_type=None)
            if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
                return str(problem["detail"])[:DETAIL_LIMIT], isinstance(problem.get("code"), str)
    return text or response.reason or "no reason was given", False


def describe(error: Exception) -> str:
    # aiohttp's own text repeats the address and mentions `ssl:default`.
    cause = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):  # its errno is OpenSSL's, not the system's
        # Python knows no reason for an error that is newer than itself: `[SSL] record layer failure (_ssl.c:1028)`.
        reason = getattr(cause, "reason", None)
        text = reason.replace("_", " ").lower() if reason else _SSL_NOISE.sub("", cause.strerror or str(cause))
        return f"TLS handshake failed: {text}"
    if isinstance(cause, OSError) and cause.errno:
        # Errors of name resolution have negative numbers and their own texts.
        return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return str(cause) or type(cause).__name__
