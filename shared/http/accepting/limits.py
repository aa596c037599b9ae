"""Limits of idle connections, in time and in number.

aiohttp alone waits an hour for a request, on any number of connections. Here a connection is *idle* from its beginning
until the headers of a request are complete, and again from the response until the next request. One that is idle for
too long is aborted. Where too many are idle, of one address or in all, the one that has been idle longest is aborted,
never the new one: a flood of silent connections only displaces itself. Requests in progress, streams and WebSockets are
not idle; other limits apply to them.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar, cast

from pydantic import Field

from shared.http.addresses import peer_rate_limit_key
from shared.runtime.clock import Clock
from shared.settings import Options

_CHECK_INTERVAL = 1.0
"""Seconds between two searches for connections that have been idle for too long."""
_BURST = 1.0
"""Seconds for which an address may have any number of idle connections: those that come through one proxy at once are
all accepted before the request of the first one is read."""


class ConnectionLimitOptions(Options):
    """How long connections may be idle, and how many of them."""

    header_timeout: float = Field(default=10.0, gt=0)
    """Seconds from the beginning of a connection to the end of the first request's headers, and before that for the
    TLS handshake, where there is one. A phone on a bad network needs two or three."""

    keepalive_timeout: float = Field(default=75.0, gt=0)
    """Seconds from a response to the end of the next request's headers. Longer than the 60 for which most proxies keep
    an idle connection, which would otherwise send requests into one that is being closed."""

    max_idle_per_address: int = Field(default=100, ge=1)
    """Connections of one address (one /64 of IPv6) that may be idle for more than a second. A proxy is one address: it
    sends requests at once, so that this has to allow for the idle connections that it keeps."""

    max_idle: int = Field(default=5000, ge=1)
    """Connections that may be idle in all, at some 10 KiB and one file descriptor each. Of many clients that reconnect
    at once, a thousand may be accepted before the first request is read. Connections in their TLS handshake do not
    count; `header_timeout` alone limits them."""


Connection = TypeVar("Connection")


class _Idle(NamedTuple):
    address: str
    since: float
    until: float


class IdleConnections(Generic[Connection]):
    """The connections that are idle, and which of them have to be aborted. No I/O: those returned are removed here."""

    def __init__(self, options: ConnectionLimitOptions) -> None:
        self._options = options
        self._idle: dict[Connection, _Idle] = {}
        self._of_address: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._idle)

    def add(self, connection: Connection, address: str, now: float, timeout: float) -> list[Connection]:
        """Let a connection be idle for `timeout` seconds; return those that exceed a limit because of it."""
        self._idle[connection] = _Idle(address, now, now + timeout)
        same_address = self._of_address.setdefault(address, {})
        same_address[connection] = None
        excess = []
        while len(same_address) > self._options.max_idle_per_address:
            oldest = next(iter(same_address))
            if self._idle[oldest].since > now - _BURST:
                break
            self.discard(oldest)
            excess.append(oldest)
        if len(self._idle) > self._options.max_idle:
            oldest = next(iter(self._idle))
            self.discard(oldest)
            excess.append(oldest)
        return excess

    def discard(self, connection: Connection) -> None:
        """Remove a connection that has sent a request or is closed; one that is not idle is no error."""
        idle = self._idle.pop(connection, None)
        if idle is None:
            return
        same_address = self._of_address[idle.address]
        del same_address[connection]
        if not same_address:
            del self._of_address[idle.address]

    def expired(self, now: float) -> list[Connection]:
        """Return those that have been idle for too long."""
        late = [connection for connection, idle in self._idle.items() if idle.until <= now]
        for connection in late:
            self.discard(connection)
        return late


class LimitedConnection(asyncio.Protocol):
    """One connection, in front of the protocol that reads its requests. With TLS, it begins after the handshake."""

    __slots__ = ("_inner", "_limiter", "_transport", "address")

    def __init__(self, limiter: "ConnectionLimiter", inner: asyncio.Protocol) -> None:
        self.address = ""
        self._limiter = limiter
        self._inner = inner
        self._transport: asyncio.Transport | None = None

    def request_began(self) -> None:
        """Note that the headers of a request are complete."""
        self._limiter.discard(self)

    def response_began(self) -> None:
        """Note that the response is being written."""
        if self._transport is not None:
            self._limiter.keep_alive(self)

    def abort(self) -> None:
        """Close the connection, and drop what waits to be written."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it
        self.address = peer_rate_limit_key(transport.get_extra_info("peername"))
        self._inner.connection_made(transport)
        self._limiter.opened(self)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._limiter.discard(self)
        self._inner.connection_lost(exc)


class ConnectionLimiter:
    """Accepts connections, and aborts those that exceed a limit."""

    def __init__(self, options: ConnectionLimitOptions, handler: Callable[[], asyncio.Protocol], clock: Clock) -> None:
        """`handler` makes the protocol that reads the requests of one connection."""
        self._options = options
        self._handler = handler
        self._clock = clock
        self._idle: IdleConnections[LimitedConnection] = IdleConnections(options)

    def protocol(self) -> LimitedConnection:
        """Make the protocol of one connection, for `create_server`."""
        return LimitedConnection(self, self._handler())

    async def enforce(self) -> None:
        """Abort connections that are idle for too long, until cancelled."""
        while True:
            await self._clock.sleep(_CHECK_INTERVAL)
            _abort(self._idle.expired(self._clock.monotonic()))

    # Called by the connections

    def opened(self, connection: LimitedConnection) -> None:
        """Begin to wait for its first request."""
        self._wait(connection, self._options.header_timeout)

    def keep_alive(self, connection: LimitedConnection) -> None:
        """Begin to wait for its next request."""
        self._wait(connection, self._options.keepalive_timeout)

    def discard(self, connection: LimitedConnection) -> None:
        """Stop to wait for it."""
        self._idle.discard(connection)

    def _wait(self, connection: LimitedConnection, timeout: float) -> None:
        self._idle.discard(connection)
        _abort(self._idle.add(connection, connection.address, self._clock.monotonic(), timeout))


def _abort(connections: list[LimitedConnection]) -> None:
    for connection in connections:
        connection.abort()
