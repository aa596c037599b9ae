"""One connection of a consumer: what the hub knows of it, between aiohttp and its transport.

After the upgrade it stands in aiohttp's place as the transport's protocol and passes everything on. So it hears at
once, not a loop's turn later, that bytes came (it is alive), that the transport's buffer drained, and that the
connection is lost: before its file descriptor is closed and may come to mean another connection.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.close_codes import LOST, CloseReason
from services.experience_api.hub.heartbeat import alive
from services.experience_api.hub.outbox import Outbox
from services.experience_api.wire.frames import PING

_CHATTER = 500
"""Empty frames from one heartbeat to the next: twenty a second, where one is plenty."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is connected, and what it may have."""

    connection_id: UUID
    client_id: str
    interest: Interest
    may_send: bool = False


class Connection(asyncio.Protocol):
    """One socket of a consumer, from the upgrade to its end."""

    __slots__ = (
        "_chatter",
        "_drained",
        "_gone",
        "_heard",
        "_inner",
        "_listening",
        "_lost",
        "_paused",
        "_reading",
        "_task",
        "_transport",
        "_transport_lives",
        "_waited",
        "ending",
        "outbox",
        "subscriber",
        "wait",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        outbox: Outbox,
        transport: asyncio.Transport,
        inner: asyncio.Protocol,
        gone: Callable[["Connection"], None],
    ) -> None:
        """`inner` is aiohttp's protocol; `gone` is called once, when nothing more may be written to the outbox."""
        self.subscriber = subscriber
        self.outbox = outbox
        self.ending: CloseReason | None = None
        """Why it ends; None while it lives."""
        self.wait: float | None = None
        self._transport = transport
        self._transport_lives = True
        self._inner = inner
        self._gone: Callable[[Connection], None] | None = gone
        self._heard = True
        self._chatter = 0
        self._waited = 0
        self._paused = False
        self._task: asyncio.Task[Any] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._listening: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] | None = None

    # What the hub does with it

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        """Write no more events, and have whoever reads from it close it for this reason; the first reason counts.

        `wait` is the seconds after which to come back, where the usual ones of the reason will not do.
        """
        if self.ending is not None:
            return
        self.ending = reason
        self.wait = wait
        self.leave()
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        """Drop the connection, and what waits for its peer, at once."""
        self._transport.abort()

    def leave(self) -> None:
        """Tell the hub that nothing more is to be written here, if it does not know."""
        if self._gone is not None:
            gone, self._gone = self._gone, None
            gone(self)

    def beat(self) -> bool:
        """Ping; False where nothing was heard since the ping before."""
        waits = self.outbox.waiting
        well = alive(heard=self._heard, waited=self._waited, waits=waits)
        self._heard = False
        self._chatter = 0
        self._waited = waits
        self.outbox.offer(PING)
        return well

    async def answers(self, within: float) -> bool:
        """Ping, and say whether anything is heard within so many seconds; one that ends has nothing to say any more."""
        if self.ending is not None:
            return False
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_future()
        self.outbox.offer(PING)
        done, _ = await asyncio.wait([self._listening], timeout=within)
        return bool(done) and self.ending is None

    @property
    def clogged(self) -> bool:
        """Whether the transport buffers more than it should hold for long."""
        return self._paused

    async def drained(self) -> None:
        """Wait until the transport takes more without buffering much."""
        while self._paused:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    # What whoever reads from it does

    def wait_begins(self) -> None:
        """The current task waits for the next message; `end` may interrupt it now."""
        self._task = asyncio.current_task()

    def wait_ends(self) -> None:
        """The current task does something that must not be interrupted."""
        self._task = None

    async def lost(self) -> None:
        """Wait until nothing is left of it here: no descriptor, and nothing that waits for its peer to read."""
        if self._transport_lives:
            self._lost = asyncio.get_running_loop().create_future()
            await self._lost

    def chatters(self) -> bool:
        """Count a frame that says nothing; whether there were more since the last heartbeat than anybody needs."""
        self._chatter += 1
        return self._chatter > _CHATTER

    # What the transport does

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._listening is not None:
            self._listening.set_result(None)
            self._listening = None
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._paused = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport_lives = False
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(None)
        if self.ending is None:
            self.ending = LOST
        self.leave()
        self._paused = False
        self._wake()
        if self._listening is not None:
            self._listening.set_result(None)
            self._listening = None
        self._inner.connection_lost(exc)

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
