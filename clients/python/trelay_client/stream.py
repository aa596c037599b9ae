"""The connections of a subscription: does what `state` decides."""

import asyncio
import logging
import os
import random
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp
from yarl import URL

from trelay_client.clock import SYSTEM_CLOCK, Clock
from trelay_client.errors import UsageError
from trelay_client.progress import bytes_received
from trelay_client.state import CONNECTED, Frame, Reconnect, SubscriptionState, UnreadableFrame

logger = logging.getLogger(__name__)

_CONNECT_TIMEOUT = 10.0
_MISSED_HEARTBEATS = 2.5
"""Heartbeats without any frame, not even a ping, after which a connection counts as lost."""
_FRAME_LIMIT = 16 * 1024 * 1024
_WINDOW = 15
"""Offer compression, with the largest window (RFC 7692)."""
_SSL_NOISE = re.compile(r"^\[SSL[^]]*\] | \(_ssl\.c:\d+\)$")
_DETAIL_LIMIT = 300
_NOT_SUCCESSFUL = 300
"""From this status on, a response is a redirect or an error."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The id and secret of a client. A token is requested with them when one is needed."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        """Show the id without the secret."""
        return f"ClientCredentials({self.client_id!r})"


@dataclass(frozen=True, slots=True)
class Token:
    """The token of a consumer. If it is refused, the stream ends."""

    token: str

    def __repr__(self) -> str:
        """Hide the token."""
        return "Token(…)"


def log_unreadable(frame: UnreadableFrame) -> None:
    """Log a frame that cannot be read, with its beginning."""
    fields = {"cursor": frame.cursor, "reason": frame.reason, "frame": frame.text[:_DETAIL_LIMIT]}
    logger.warning("skipping unreadable frame", extra=fields)


async def subscribe(  # noqa: PLR0913 -- tests replace three of them
    url: str,
    credentials: ClientCredentials | Token,
    channels: Sequence[str] = (),
    cursor: str | None = None,
    *,
    since: str | None = None,
    conflate: str | None = None,
    watermarks: int | None = None,
    on_retry: Callable[[str], None] = lambda _reason: None,
    on_unreadable: Callable[[UnreadableFrame], None] = log_unreadable,
    ssl_context: ssl.SSLContext | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random | None = None,
) -> AsyncGenerator[Frame, None]:
    """Yield every event once, and Trelay's control events (connected, gap, watermark), until closed.

    `url` is the address of the experience layer, `channels` narrows the subscription, `cursor` resumes. Without a
    cursor, it begins at `since`: `earliest`, a duration such as `15m`, or a time in RFC 3339. `conflate` is a duration
    such as `500ms`: of the events of that time, only the latest one of each subject is received. With `watermarks`, in
    seconds, a `trelay.watermark` tells at most so often up to when each source has been read, so that silence means
    that nothing has changed. `on_retry` receives a text before each pause: what happened, and the seconds until the
    next attempt. `on_unreadable` receives each frame that cannot be read, and may raise to end the stream; the events
    behind that frame follow, and it does not come again. Close the generator (`contextlib.aclosing`) to disconnect.

    Raises:
        Stopped: the client must not reconnect.
        UsageError: the URL is invalid.
    """
    base = base_url(url)
    can_register = isinstance(credentials, ClientCredentials)
    state = SubscriptionState(cursor, can_register=can_register, rng=rng or random.Random())  # noqa: S311 -- jitter
    token = credentials.token if isinstance(credentials, Token) else None
    timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT, sock_read=_CONNECT_TIMEOUT)
    connector = aiohttp.TCPConnector(ssl=True if ssl_context is None else ssl_context)
    refusals = _Refusals()
    given = {"channels": ",".join(channels), "conflate": conflate, "watermarks": watermarks and str(watermarks)}
    query = {name: text for name, text in given.items() if text}
    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, trace_configs=[refusals.tracing()]
    ) as session:
        connection = _Connection(session, refusals, base, query, since, state, clock)
        while True:
            upcoming: Reconnect | None = None
            if token is None and isinstance(credentials, ClientCredentials):
                token, upcoming = await connection.register(credentials)
            if token is not None:
                async with aclosing(connection.frames(token)) as items:  # closed here, not by the garbage collector
                    async for item in items:
                        if isinstance(item, Frame):
                            yield item
                        elif isinstance(item, UnreadableFrame):
                            on_unreadable(item)
                        else:
                            upcoming = item
            assert upcoming is not None, "an attempt ends with a reconnection"
            if upcoming.register:
                token = None
            on_retry(f"{upcoming.reason}; retrying in {upcoming.pause:.1f} s")
            await clock.sleep(upcoming.pause)


def base_url(url: str) -> URL:
    """Parse the address of the experience layer. `ws` and `wss` mean `http` and `https`.

    Raises:
        UsageError: it is not such an address.
    """
    try:
        found = URL(url)
    except ValueError as exc:
        raise UsageError(f"found {url!r}; expected a URL: {exc}") from exc
    scheme = {"ws": "http", "wss": "https"}.get(found.scheme, found.scheme)
    if scheme not in {"http", "https"} or not found.host:
        raise UsageError(f"found {url!r}; expected a URL, such as https://trelay.example.com")
    path = found.path.removesuffix("/").removesuffix("/ws/publish")
    return found.with_scheme(scheme).with_path(path or "/").with_query(None).with_fragment(None)


class _Connection:
    """Registers and connects, one attempt at a time."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        refusals: "_Refusals",
        base: URL,
        query: Mapping[str, str],
        since: str | None,
        state: SubscriptionState,
        clock: Clock,
    ) -> None:
        """`query` is sent with each request for the stream, beside where that begins."""
        self._session = session
        self._refusals = refusals
        self._base = base
        self._query = query
        self._since = since
        self._state = state
        self._clock = clock

    async def register(self, credentials: ClientCredentials) -> tuple[str | None, Reconnect | None]:
        """Return a token, or the reconnection after a failure."""
        headers = {"client_id": credentials.client_id, "client_secret": credentials.client_secret}
        try:
            # A redirect is not followed: the secret would go to the address that the response names.
            request = self._session.post(self._base / "consumers", headers=headers, allow_redirects=False)
            async with request as response:
                if response.status >= _NOT_SUCCESSFUL:
                    return None, self._refused(response.status, response.headers, registering=True)
                token = (await response.json())["token"]
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as exc:
            return None, self._state.lost(f"cannot register at {self._base}: {_describe(exc)}", 0.0)
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
            yield self._state.lost(f"cannot connect to {self._base}: {_describe(exc)}", 0.0)
            return
        timeout, arrived = _CONNECT_TIMEOUT, bytes_received(socket)
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
                if frame is not None:
                    yield frame
            reason = message.extra if isinstance(message.extra, str) else ""
            yield self._ended(socket.close_code, reason, self._clock.monotonic() - started)
        except TimeoutError:
            yield self._state.lost(f"received nothing for {timeout:g} s", self._clock.monotonic() - started)
        finally:
            with suppress(TimeoutError):
                await socket.close()

    async def _connect(self, token: str) -> aiohttp.ClientWebSocketResponse[bool]:
        query = dict(self._query)
        if self._state.cursor is not None:
            query["cursor"] = self._state.cursor
        elif self._since is not None:
            query["since"] = self._since
        headers = {"Authorization": f"Bearer {token}"}
        address = (self._base / "ws" / "publish").with_query(query)
        closing = aiohttp.ClientWSTimeout(ws_close=2.0)
        async with asyncio.timeout(_CONNECT_TIMEOUT):
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
        return self._state.refused(status, self._refusals.detail, wait, registering=registering)


class _Refusals:
    """Reads why a request was refused, for WebSockets too: aiohttp drops the body of that response."""

    def __init__(self) -> None:
        self.detail = ""
        """The detail of the last refusal."""

    def tracing(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._ended)
        return config

    async def _ended(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        successful = params.response.status < _NOT_SUCCESSFUL
        self.detail = "not a WebSocket endpoint" if successful else await _detail(params.response)


def _receive_timeout(frame: Frame) -> float:
    data = frame.event.get("data")
    heartbeat = data.get("heartbeat") if isinstance(data, dict) else None
    return float(heartbeat) * _MISSED_HEARTBEATS if isinstance(heartbeat, int | float) and heartbeat > 0 else 60.0


async def _detail(response: aiohttp.ClientResponse) -> str:
    """Return the text of an error response: the detail of a problem (RFC 9457), the body, or the status."""
    if response.status < HTTPStatus.BAD_REQUEST:
        return f"moved to {response.headers.get('Location', 'nowhere')[:_DETAIL_LIMIT]}"
    text = (await response.text(errors="replace"))[:_DETAIL_LIMIT]
    if response.content_type == "application/problem+json":
        with suppress(ValueError):
            problem = await response.json(content_type=None)
            if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
                return str(problem["detail"])[:_DETAIL_LIMIT]
    return text or response.reason or "no reason was given"


def _describe(error: Exception) -> str:
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
