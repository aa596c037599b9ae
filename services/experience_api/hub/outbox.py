"""What waits for one subscriber: bounded in bytes, never awaited by whoever offers it.

Where the connection is plain TCP and nothing waits, a frame is written to its file descriptor at once, which costs a
quarter of the overhead of `transport.write`. What the kernel does not take goes to the transport, and everything that
follows goes there too until it has drained, so that order is kept. Three rules make this sound: everything that is
written after the upgrade goes through here, `close` is called before a Close frame is written, and `close` is called
before the descriptor is closed, when it could come to mean somebody else's connection.
"""

import os
from collections.abc import Callable
from typing import Protocol

Write = Callable[[int, bytes], int]


class BufferedTransport(Protocol):
    """The part of `asyncio.WriteTransport` that is needed here."""

    def write(self, data: bytes | memoryview) -> None: ...
    def get_write_buffer_size(self) -> int: ...


NOT_NOW = -1


class Outbox:
    """The way out to one connection; see the module's docstring for its rules."""

    __slots__ = ("_fd", "_limit", "_transport", "closed", "direct")

    def __init__(self, transport: BufferedTransport, fd: int | None, limit: int) -> None:
        """Write to `transport`; to `fd` itself where it is given, which TLS forbids."""
        self._transport = transport
        self._fd = NOT_NOW if fd is None else fd
        self._limit = limit
        self.direct = NOT_NOW
        """The descriptor, while nothing waits in the transport so that the next bytes may go there; else `NOT_NOW`.
        The delivery loop reads this, writes there itself, and calls `keep` with what is left over."""
        self.closed = False

    @property
    def waiting(self) -> int:
        """Bytes that the subscriber has not made room for yet."""
        return 0 if self.direct != NOT_NOW or self.closed else self._transport.get_write_buffer_size()

    def offer(self, frames: bytes, write: Write = os.write) -> bool:
        """Take these, all of them or none; False where they do not fit below the bound.

        One that is closed takes everything and drops it.
        """
        if self.closed:
            return True
        waiting = self.waiting
        if waiting + len(frames) > self._limit:
            return False
        self.direct = NOT_NOW if waiting else self._fd
        self._put(frames, write)
        return True

    def force(self, frames: bytes, write: Write = os.write) -> None:
        """Take these whatever waits: for what is bounded by other means, such as one reply."""
        if not self.closed:
            self._put(frames, write)

    def keep(self, frames: bytes, sent: int) -> None:
        """Let the transport have what a direct write left over."""
        self.direct = NOT_NOW
        self._transport.write(memoryview(frames)[sent:] if sent else frames)

    def close(self) -> None:
        """Write nothing more."""
        self.closed = True
        self.direct = NOT_NOW

    def _put(self, frames: bytes, write: Write) -> None:
        sent = 0
        if self.direct != NOT_NOW:
            try:
                sent = write(self.direct, frames)
            except OSError:
                # Full, or broken: the transport finds out which, and acts on it.
                sent = 0
        if sent < len(frames):
            self.keep(frames, sent)
