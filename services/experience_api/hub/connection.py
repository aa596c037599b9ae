"""One connection of a consumer, between aiohttp and its transport.

After the upgrade it replaces aiohttp's protocol on the transport and forwards every callback to it. So it learns at
once, not one loop iteration later, that bytes arrived (the peer is alive), that the transport's buffer drained, and
that the connection is lost, before its file descriptor is closed and may come to mean another connection.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from services.experience_api.hub.audience import Interest, Subscriber
from services.experience_api.hub.close_codes import LOST, CloseReason
from services.experience_api.hub.heartbeat import Position, Progress, alive, answered, reads
from services.experience_api.hub.outbox import Outbox
from services.experience_api.hub.progress import Socket, measure
from services.experience_api.wire.client_frames import ClientFrames
from services.experience_api.wire.frames import PING, ping

ChangeInterest = Callable[[Interest, str], asyncio.Future[bytes | None]]

_EMPTY_FRAMES_LIMIT = 500
"""Empty frames accepted in one heartbeat: twenty a second, where one is enough."""


class Connection(asyncio.Protocol):
    """One socket of a consumer, from its upgrade to its end."""

    __slots__ = (
        "_closed_waiter",
        "_drain_waiter",
        "_empty_frames",
        "_frames",
        "_inner",
        "_on_detach",
        "_paused",
        "_peer",
        "_progress",
        "_received",
        "_response_waiter",
        "_stalled",
        "_task",
        "_transport",
        "_transport_open",
        "beat",
        "change",
        "changed_at",
        "ending",
        "on_change",
        "outbox",
        "position",
        "subscriber",
        "wait",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        outbox: Outbox,
        transport: asyncio.Transport,
        inner: asyncio.Protocol,
        on_detach: Callable[["Connection"], None],
        peer: Socket | None = None,
    ) -> None:
        """`inner` is aiohttp's protocol. `on_detach` is called once, when nothing more may be written to the outbox.

        `peer` is the socket of the transport.
        """
        self._peer = peer
        self.subscriber = subscriber
        self.outbox = outbox
        self.ending: CloseReason | None = None
        """Why the connection ends; None while it lives."""
        self.wait: float | None = None
        self.beat = ping
        """Returns the frames of one heartbeat."""
        self.change: ChangeInterest | None = None
        """Subscribes this connection to another interest; set once the connection is served, as is `position`."""
        self.position: Callable[[], Position] | None = None
        self.changed_at: bytes | None = None
        """The cursor from which on it receives what it does; None if it has from its beginning."""
        self.on_change: Callable[[bytes], None] | None = None
        """Gets that cursor when it changes."""
        self._transport = transport
        self._transport_open = True
        self._inner = inner
        self._frames = ClientFrames(compression=bool(outbox.window))
        self._on_detach: Callable[[Connection], None] | None = on_detach
        self._received = True
        self._empty_frames = 0
        self._progress = Progress(0)
        self._stalled = 0
        self._paused = False
        self._task: asyncio.Task[Any] | None = None
        self._drain_waiter: asyncio.Future[None] | None = None
        self._response_waiter: asyncio.Future[None] | None = None
        self._closed_waiter: asyncio.Future[None] | None = None

    # Called by the hub and the stream

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        """Write no more events, and let the reading task close the connection. The first reason counts.

        `wait` replaces the reason's own seconds to wait before reconnecting.
        """
        if self.ending is not None:
            return
        self.ending = reason
        self.wait = wait
        self.detach()
        if self._task is not None:
            self._task.cancel()

    def subscribe(self, interest: Interest, reason: str) -> asyncio.Future[bytes | None]:
        """Subscribe to another interest without a gap; the result is the cursor from which on it holds.

        The subscriber is told of it, with the reason. The result is None if the connection ends before.
        """
        if self.change is None:
            ended = asyncio.get_running_loop().create_future()
            ended.set_result(None)
            return ended
        return self.change(interest, reason)

    def changed(self, cursor: bytes) -> None:
        """Note that `subscriber` receives other events from a cursor on, up to which all before was written."""
        self.changed_at = cursor
        if self.on_change is not None:
            self.on_change(cursor)

    def forget(self) -> None:
        """Drop what refers to the connection itself, once it has ended: the garbage collector need not free it then."""
        self.beat, self.change, self.position, self.on_change = ping, None, None, None

    def abort(self) -> None:
        """Drop the connection and its buffered bytes at once."""
        self._transport.abort()

    def drop(self) -> None:
        """Drop the connection. What our kernel has accepted still reaches a peer that reads on."""
        if self.progress().buffered:
            self._transport.abort()
        else:
            self._transport.close()

    def detach(self) -> None:
        """Report once that nothing more may be written to the outbox."""
        if self._on_detach is not None:
            on_detach, self._on_detach = self._on_detach, None
            on_detach(self)

    def progress(self) -> Progress:
        """Measure how far the peer has got with what was written to it."""
        buffered = self._transport.get_write_buffer_size() if self._transport_open else 0
        return measure(self._peer if self._transport_open else None, buffered)

    def acknowledged(self) -> int:
        """Return a number that grows as the peer reads."""
        progress = self.progress()
        return -progress.buffered if progress.acknowledged is None else progress.acknowledged

    def heartbeat(self) -> bool:
        """Send a ping; return False if the peer has shown no sign of life since the previous one."""
        before, now = self._progress, self.progress()
        judge = answered if self.subscriber.answers else alive
        found = judge(received=self._received, before=before, now=now, stalled=self._stalled)
        progressed = reads(before, now) and (before.backlog or not self.subscriber.answers)
        self._stalled = 0 if self._received or progressed else self._stalled + 1
        self._received = False
        self._empty_frames = 0
        self._progress = now
        self.outbox.offer(self.beat())
        return found

    async def responds(self, timeout: float) -> bool:
        """Send a ping and return whether anything arrives within `timeout` seconds. A connection that ends does not.

        A peer that has a backlog, and reads of it, responds as well: it has not come to the ping yet.
        """
        if self.ending is not None:
            return False
        if self._response_waiter is None:
            self._response_waiter = asyncio.get_running_loop().create_future()
        before = self.progress()
        self.outbox.offer(self.beat() if self.subscriber.answers else PING)
        done, _ = await asyncio.wait([self._response_waiter], timeout=timeout)
        if self.has_ended():
            return False
        return bool(done) or (before.backlog and reads(before, self.progress()))

    def has_ended(self) -> bool:
        """Whether the connection ends."""
        return self.ending is not None

    @property
    def reached(self) -> bytes | None:
        """The cursor up to which everything was written, if that is all there is; None while it catches up."""
        found = None if self.position is None or self.ending is not None else self.position()
        return found.cursor if found is not None and found.live else None

    @property
    def congested(self) -> bool:
        """Whether the transport's buffer is above its high-water mark."""
        return self._paused

    async def drained(self) -> None:
        """Wait until the transport's buffer is below its low-water mark."""
        while self._paused:
            if self._drain_waiter is None:
                self._drain_waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drain_waiter)

    # Called by the reading task

    def begin_wait(self) -> None:
        """The current task waits for the next message; from now on `end` cancels it."""
        self._task = asyncio.current_task()

    def end_wait(self) -> None:
        """The current task does something that must not be cancelled."""
        self._task = None

    async def wait_closed(self) -> None:
        """Wait until the transport has closed its descriptor and dropped its buffer."""
        if self._transport_open:
            self._closed_waiter = asyncio.get_running_loop().create_future()
            await self._closed_waiter

    def count_empty_frame(self) -> bool:
        """Count a frame without content; return whether the limit of one heartbeat is exceeded."""
        self._empty_frames += 1
        return self._empty_frames > _EMPTY_FRAMES_LIMIT

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        data = self._frames.feed(data)
        if self._frames.message_bytes or not self.subscriber.answers:
            self._received = True
            if self._response_waiter is not None:
                self._response_waiter.set_result(None)
                self._response_waiter = None
        if data:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._paused = True
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._paused = False
        self._notify_drained()
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport_open = False
        if self._closed_waiter is not None and not self._closed_waiter.done():
            self._closed_waiter.set_result(None)
        if self.ending is None:
            self.ending = LOST
        self.detach()
        self._paused = False
        self._notify_drained()
        if self._response_waiter is not None:
            self._response_waiter.set_result(None)
            self._response_waiter = None
        self._inner.connection_lost(exc)

    def _notify_drained(self) -> None:
        if self._drain_waiter is not None:
            self._drain_waiter.set_result(None)
            self._drain_waiter = None
