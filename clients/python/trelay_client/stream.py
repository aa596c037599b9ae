"""The socket of a subscriber: does what `course` decides."""

import asyncio
import os
import random
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp
from yarl import URL

from trelay_client.clock import SYSTEM_CLOCK, Clock
from trelay_client.course import CONNECTED, Course, Frame, Next
from trelay_client.errors import Malformed, UsageError

_CONNECT_WITHIN = 10.0
_SILENT_FOR = 2.5
"""Heartbeats without a word, not even a ping, after which a connection counts as lost."""
_FRAME_LIMIT = 16 * 1024 * 1024
_DETAIL_LIMIT = 300
_MOVED = 300
"""From this status on, an answer is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Account:
    """A client's credentials: a token is got for them when one is needed."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        """Show whose it is, and no secret."""
        return f"Account({self.client_id!r})"


@dataclass(frozen=True, slots=True)
class Token:
    """A consumer's token. When it is refused, the stream ends."""

    token: str

    def __repr__(self) -> str:
        """Show nothing."""
        return "Token(…)"


async def subscribe(  # noqa: PLR0913 -- three are what tests replace
    url: str,
    credentials: Account | Token,
    channels: Sequence[str] = (),
    cursor: str | None = None,
    *,
    note: Callable[[str], None] = lambda _said: None,
    trust: ssl.SSLContext | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random | None = None,
) -> AsyncGenerator[Frame, None]:
    """Yield every frame, Trelay's own (connected, gap) among them; events once each. Never ends by itself.

    `url` is the experience layer's, `channels` narrows what comes, `cursor` resumes; `note` is told in a sentence of
    each loss and of each pause. Close the generator (`contextlib.aclosing`) to leave.

    Raises:
        Stopped: the server says not to come back.
        UsageError: the URL is none.
    """
    base = base_url(url)
    can_register = isinstance(credentials, Account)
    course = Course(cursor, can_register=can_register, rng=rng or random.Random())  # noqa: S311 -- jitter, no secret
    token = credentials.token if isinstance(credentials, Token) else None
    timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_WITHIN, sock_read=_CONNECT_WITHIN)
    connector = aiohttp.TCPConnector(ssl=True if trust is None else trust)
    refusals = _Refusals()
    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, trace_configs=[refusals.tracing()]
    ) as session:
        connection = _Connection(session, refusals, base, channels, course, clock)
        while True:
            upcoming: Next | None = None
            if token is None and isinstance(credentials, Account):
                token, upcoming = await connection.register(credentials)
            if token is not None:
                async with aclosing(connection.frames(token)) as items:  # else nobody knows when it is closed
                    async for item in items:
                        if isinstance(item, Frame):
                            yield item
                        else:
                            upcoming = item
            assert upcoming is not None, "an attempt ends with what comes next"
            if upcoming.register:
                token = None
            note(f"{upcoming.why}; next try in {upcoming.pause:.1f} s")
            await clock.sleep(upcoming.pause)


def base_url(url: str) -> URL:
    """Read the address of the experience layer; `ws` and `wss` are taken for `http` and `https`.

    Raises:
        UsageError: it is no such address.
    """
    try:
        found = URL(url)
    except ValueError as exc:
        raise UsageError(f"{url!r} is no URL: {exc}") from exc
    scheme = {"ws": "http", "wss": "https"}.get(found.scheme, found.scheme)
    if scheme not in {"http", "https"} or not found.host:
        raise UsageError(f"{url!r} is no address of Trelay; expected something like https://trelay.example.com")
    path = found.path.removesuffix("/").removesuffix("/ws/publish")
    return found.with_scheme(scheme).with_path(path or "/").with_query(None).with_fragment(None)


class _Connection:
    """One attempt after another."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        refusals: "_Refusals",
        base: URL,
        channels: Sequence[str],
        course: Course,
        clock: Clock,
    ) -> None:
        self._session = session
        self._refusals = refusals
        self._base = base
        self._channels = channels
        self._course = course
        self._clock = clock

    async def register(self, account: Account) -> tuple[str | None, Next | None]:
        """Return a token, or what comes next instead."""
        headers = {"client_id": account.client_id, "client_secret": account.client_secret}
        try:
            # A redirect is not followed: the secret would go to whoever the answer names.
            request = self._session.post(self._base / "consumers", headers=headers, allow_redirects=False)
            async with request as answer:
                if answer.status >= _MOVED:
                    return None, self._refused(answer.status, answer.headers, registering=True)
                token = (await answer.json())["token"]
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as exc:
            return None, self._course.lost(f"cannot register at {self._base}: {_said(exc)}", 0.0)
        return str(token), None

    async def frames(self, token: str) -> AsyncGenerator[Frame | Next, None]:
        """Yield the frames of one connection, and last what comes next."""
        self._course.connecting()
        begun = self._clock.monotonic()
        try:
            socket = await self._connect(token)
        except aiohttp.WSServerHandshakeError as exc:
            yield self._refused(exc.status, exc.headers or {}, registering=False)
            return
        except (aiohttp.ClientError, OSError) as exc:
            yield self._course.lost(f"cannot connect to {self._base}: {_said(exc)}", 0.0)
            return
        patience = _CONNECT_WITHIN
        try:
            while True:
                message = await socket.receive(timeout=patience)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frame = self._course.received(message.data)
                if frame is not None and frame.event.get("type") == CONNECTED and frame.own:
                    patience = _patience(frame)
                if frame is not None:
                    yield frame
            reason = message.extra if isinstance(message.extra, str) else ""
            yield self._ended(socket.close_code, reason, self._clock.monotonic() - begun)
        except TimeoutError:
            yield self._course.lost(f"nothing was heard for {patience:g} s", self._clock.monotonic() - begun)
        except Malformed as exc:
            yield self._course.lost(str(exc), self._clock.monotonic() - begun)
        finally:
            with suppress(TimeoutError):
                await socket.close()

    async def _connect(self, token: str) -> aiohttp.ClientWebSocketResponse[bool]:
        query = {}
        if self._channels:
            query["channels"] = ",".join(self._channels)
        if self._course.cursor is not None:
            query["cursor"] = self._course.cursor
        headers = {"Authorization": f"Bearer {token}"}
        address = (self._base / "ws" / "publish").with_query(query)
        closing = aiohttp.ClientWSTimeout(ws_close=2.0)
        async with asyncio.timeout(_CONNECT_WITHIN):
            return await self._session.ws_connect(
                address, headers=headers, max_msg_size=_FRAME_LIMIT, timeout=closing, autoping=True
            )

    def _ended(self, code: int | None, reason: str, lived: float) -> Next:
        if code is None or code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE:
            return self._course.lost("the connection was lost", lived)
        return self._course.closed(int(code), reason, lived)

    def _refused(self, status: int, headers: Mapping[str, str], *, registering: bool) -> Next:
        after = headers.get("Retry-After", "")
        wait = float(after) if after.isdecimal() else None
        return self._course.refused(status, self._refusals.detail, wait, registering=registering)


class _Refusals:
    """Reads why a request was refused, also where it was one for a WebSocket: aiohttp drops that answer's body."""

    def __init__(self) -> None:
        self.detail = ""
        """Of the last one."""

    def tracing(self) -> aiohttp.TraceConfig:
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._ended)
        return config

    async def _ended(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        answered = params.response.status < _MOVED
        self.detail = "no WebSocket is spoken there" if answered else await _detail(params.response)


def _patience(frame: Frame) -> float:
    data = frame.event.get("data")
    heartbeat = data.get("heartbeat") if isinstance(data, dict) else None
    return float(heartbeat) * _SILENT_FOR if isinstance(heartbeat, int | float) and heartbeat > 0 else 60.0


async def _detail(answer: aiohttp.ClientResponse) -> str:
    """Return what an error response says in words: the detail of a problem (RFC 9457), or the status alone."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return f"moved to {answer.headers.get('Location', 'nowhere')[:_DETAIL_LIMIT]}"
    text = (await answer.text(errors="replace"))[:_DETAIL_LIMIT]
    if answer.content_type == "application/problem+json":
        with suppress(ValueError):
            problem = await answer.json(content_type=None)
            if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
                return str(problem["detail"])[:_DETAIL_LIMIT]
    return text or answer.reason or "no reason was given"


def _said(error: Exception) -> str:
    # aiohttp's own sentence repeats the address and speaks of `ssl:default`.
    cause = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"TLS fails: {cause.reason.replace('_', ' ').lower()}"
    if isinstance(cause, OSError) and cause.errno:
        # What the name service says has numbers below 0, and words of its own.
        return os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
    return str(cause) or type(cause).__name__
