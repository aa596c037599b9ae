"""The reception: connections that have not said yet what they want, bounded in time and in number.

aiohttp alone waits an hour for a request, and for any number of them. Here a connection *waits* from its beginning
until the headers of a request are complete, and again from the answer until the next request. One that waits too long
is dropped. Where too many wait, of one address or in all, whoever has waited longest is dropped, and never the
newcomer: a flood of silent connections costs nobody his place but those who are part of it. Requests under way,
streams and WebSockets do not wait; they are for others to bound.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar, cast

from pydantic import Field

from shared.http.addresses import household
from shared.runtime.clock import Clock
from shared.settings import Options

_LOOK = 1.0
"""Seconds between two looks at who has waited too long."""
_CROWD = 1.0
"""Seconds for which an address may have any number waiting: a crowd that comes through one proxy is accepted in one
go, and what it wants is not read before the last one of it is."""


class ReceptionOptions(Options):
    """How long connections may stand about without a request, and how many of them."""

    headers_within: float = Field(default=10.0, gt=0)
    """Seconds from the beginning of a connection to the end of the first request's headers, and before that for the
    TLS handshake, where there is one. A phone on a bad network needs two or three."""

    idle_within: float = Field(default=75.0, gt=0)
    """Seconds from an answer to the end of the next request's headers. Longer than the 60 for which most proxies keep
    an idle connection: else they would send requests into one that is being closed."""

    waiting_per_address: int = Field(default=100, ge=1)
    """Connections of one address (one /64 of IPv6) that may wait for more than a second. Proxies are an address, too,
    but what they pass on is there at once; their idle connections are what this has to leave room for."""

    waiting: int = Field(default=5000, ge=1)
    """Connections that may wait in all: some 10 KiB each, and a descriptor. A crowd that reconnects waits for a few
    turns of the loop, in each of which a thousand may be accepted. Those that have not come through the TLS
    handshake yet are not known here, and bounded by their time alone."""


Guest = TypeVar("Guest")


class _Stay(NamedTuple):
    address: str
    since: float
    until: float


class Waiting(Generic[Guest]):
    """Who waits, and who has to go. Sans-I/O: whoever is returned is no longer in here, and is to be dropped."""

    def __init__(self, options: ReceptionOptions) -> None:
        self._options = options
        self._stays: dict[Guest, _Stay] = {}
        self._of_address: dict[str, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return len(self._stays)

    def add(self, guest: Guest, address: str, now: float, within: float) -> list[Guest]:
        """Let somebody wait for so many seconds; return those who have to make room."""
        self._stays[guest] = _Stay(address, now, now + within)
        neighbours = self._of_address.setdefault(address, {})
        neighbours[guest] = None
        leaving = []
        while len(neighbours) > self._options.waiting_per_address:
            oldest = next(iter(neighbours))
            if self._stays[oldest].since > now - _CROWD:
                break
            self.discard(oldest)
            leaving.append(oldest)
        if len(self._stays) > self._options.waiting:
            oldest = next(iter(self._stays))
            self.discard(oldest)
            leaving.append(oldest)
        return leaving

    def discard(self, guest: Guest) -> None:
        """Somebody has said what he wants, or is gone; who does not wait is no error."""
        stay = self._stays.pop(guest, None)
        if stay is None:
            return
        neighbours = self._of_address[stay.address]
        del neighbours[guest]
        if not neighbours:
            del self._of_address[stay.address]

    def overdue(self, now: float) -> list[Guest]:
        """Return those who have waited for too long."""
        late = [guest for guest, stay in self._stays.items() if stay.until <= now]
        for guest in late:
            self.discard(guest)
        return late


class Door(asyncio.Protocol):
    """One connection, in front of what reads its requests. Under TLS it is made once that is agreed on."""

    __slots__ = ("_inner", "_reception", "_transport", "address")

    def __init__(self, reception: "Reception", inner: asyncio.Protocol) -> None:
        self.address = ""
        self._reception = reception
        self._inner = inner
        self._transport: asyncio.Transport | None = None

    def asks(self) -> None:
        """The headers of a request are complete."""
        self._reception.discard(self)

    def answered(self) -> None:
        """Its answer is being written."""
        if self._transport is not None:
            self._reception.rests(self)

    def drop(self) -> None:
        """Close the connection, whatever waits to be written."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.address = household(transport.get_extra_info("peername"))
        self._inner.connection_made(transport)
        self._reception.arrives(self)

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
        self._reception.discard(self)
        self._inner.connection_lost(exc)


class Reception:
    """Receives connections, and sends away those that want nothing."""

    def __init__(self, options: ReceptionOptions, handler: Callable[[], asyncio.Protocol], clock: Clock) -> None:
        """`handler` makes what reads the requests of one connection."""
        self._options = options
        self._handler = handler
        self._clock = clock
        self._waiting: Waiting[Door] = Waiting(options)

    def door(self) -> Door:
        """Make the protocol of one connection, for `create_server`."""
        return Door(self, self._handler())

    async def keep_order(self) -> None:
        """Send those away who wait for too long, for ever."""
        while True:
            await self._clock.sleep(_LOOK)
            _drop(self._waiting.overdue(self._clock.monotonic()))

    # What doors say

    def arrives(self, door: Door) -> None:
        """A connection is there."""
        self._wait(door, self._options.headers_within)

    def rests(self, door: Door) -> None:
        """It has its answer, and may ask again."""
        self._wait(door, self._options.idle_within)

    def discard(self, door: Door) -> None:
        """It does not wait any more."""
        self._waiting.discard(door)

    def _wait(self, door: Door, within: float) -> None:
        self._waiting.discard(door)
        _drop(self._waiting.add(door, door.address, self._clock.monotonic(), within))


def _drop(doors: list[Door]) -> None:
    for door in doors:
        door.drop()
