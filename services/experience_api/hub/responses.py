"""Subscribers that read events from an HTTP response: as an event stream, or a batch at a time.

They are connections like those over WebSocket: the hub, the catch-up and the drain know no difference. Only their
outbox writes in another form, and no pong can be expected of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import PATIENCE
from services.experience_api.hub.outbox import BufferedTransport, Outbox, Write
from services.experience_api.wire.frames import PING
from services.experience_api.wire.messages import chunk, cursor_of, event_stream, messages

_CHECKS = 15
"""Checks in the time that a peer has to respond."""
_HELD_BYTES = 65_536
"""Bytes of events that do not complete a batch by themselves, from which on it is complete nevertheless."""


def _nothing() -> None:
    pass


class StreamOutbox(Outbox):
    """Writes chunks of an event stream."""

    __slots__ = ("_latest",)

    def __init__(self, transport: BufferedTransport, limit: int, latest: "Latest") -> None:
        super().__init__(transport, None, limit)
        self._latest = latest

    def _put(self, frames: bytes, write: Write) -> None:
        del write
        self.write_rest(self._latest.encoded(frames), 0)


class Latest:
    """Encodes the same frames once for all event streams: the hub offers them to one after the other."""

    def __init__(self) -> None:
        self._frames = b""
        self._encoded = b""

    def encoded(self, frames: bytes) -> bytes:
        """Return frames as a chunk of an event stream."""
        if frames is not self._frames:
            self._frames, self._encoded = frames, chunk(event_stream(frames))
        return self._encoded


class BatchOutbox(Outbox):
    """Collects the first events that arrive, and takes no more after them."""

    __slots__ = ("_completes", "_held", "_on_complete", "_waits", "cursor", "events")

    def __init__(
        self,
        transport: BufferedTransport,
        limit: int,
        on_complete: Callable[[], None],
        *,
        waits: bool,
        completes: Callable[[bytes], bool] = lambda _message: True,
    ) -> None:
        """`on_complete` is called once there is something to answer. If it `waits`, the first frame alone is not.

        `completes` returns whether a message is; those that are not come with the next one that is, or when the request
        ends.
        """
        super().__init__(transport, None, limit)
        self._on_complete = on_complete
        self._waits = waits
        self._completes = completes
        self._held = 0
        self.events: list[bytes] = []
        self.cursor = b""
        """Where to resume after these events."""

    def forget(self) -> None:
        """Call nobody any more, once the request is answered: who is called may refer to this."""
        self._on_complete = _nothing

    def _put(self, frames: bytes, write: Write) -> None:
        del write
        complete = False
        for message in messages(frames):
            self.cursor = cursor_of(message) or self.cursor
            self.events.append(message)
            self._held += len(message)
            complete = complete or self._completes(message)
        if self._waits and self.events:
            # The first frame says where the stream begins.
            self._waits = False
            self._held = 0
            self.events.clear()
        elif complete or self._held > _HELD_BYTES:
            # What follows is not lost: the cursor lies before it.
            self.close()
            self._on_complete()


class ResponseConnection(Connection):
    """One response to a subscriber, from its headers to its end."""

    __slots__ = ("_ended", "_probe")

    def __init__(self, *arguments: Any, probe: Callable[[], Awaitable[None]] | None = None) -> None:
        """Take what a `Connection` takes. `probe` writes to one that writes nothing else until it ends.

        It raises ConnectionError if the peer has disconnected.
        """
        super().__init__(*arguments)
        self._ended = asyncio.Event()
        self._probe = probe

    def forget(self) -> None:
        super().forget()
        self._probe = None

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        super().end(reason, wait)
        self._ended.set()

    def heartbeat(self) -> bool:
        """Write a comment; return False if the peer's kernel has acknowledged nothing since the previous one."""
        if self._probe is not None:
            return True
        before, now = self._progress, self.progress()
        self._progress = now
        self.outbox.offer(self.beat())
        if now.acknowledged is None or before.acknowledged is None or now.acknowledged > before.acknowledged:
            self._stalled = 0
            return True
        self._stalled += 1
        return now.backlog and self._stalled < PATIENCE

    async def responds(self, timeout: float) -> bool:
        """Write a comment and return whether the peer's kernel acknowledges it within `timeout` seconds.

        The kernel may be that of a proxy. What it acknowledges has not reached the peer, but if that has disconnected,
        the proxy finds out now, and the connection ends soon after.
        """
        if self.ending is not None:
            return False
        before = self.progress().acknowledged
        try:
            await self._write_probe()
        except ConnectionError:
            return False
        if before is None:
            return True
        for _ in range(_CHECKS):
            try:
                async with asyncio.timeout(timeout / _CHECKS):
                    await self._ended.wait()
            except TimeoutError:
                pass
            if self.has_ended():
                return False
            if (self.progress().acknowledged or 0) > before:
                return True
        return False

    async def _write_probe(self) -> None:
        if self._probe is not None:
            await self._probe()
        else:
            self.outbox.offer(PING)

    async def wait_ended(self) -> None:
        """Wait until the connection ends."""
        await self._ended.wait()

    def data_received(self, data: bytes) -> None:
        # A request that follows: aiohttp reads it after this response.
        self._inner.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._ended.set()
