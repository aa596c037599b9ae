"""The bytes waiting for one subscriber: bounded, and never awaited by the code that offers them.

If the connection is plain TCP and its buffer is empty, a frame is written straight to its file descriptor, which costs
a quarter of the overhead of `transport.write`. What the kernel does not accept goes to the transport, and so does
everything after it until the transport has drained, so that order is kept. This is safe under three rules: everything
written after the upgrade goes through here, `close` is called before a Close frame is written, and `close` is called
before the descriptor is closed, when its number could come to mean another connection.
"""

import os
from collections.abc import Callable
from typing import Protocol

Write = Callable[[int, bytes], int]


class BufferedTransport(Protocol):
    """The part of `asyncio.WriteTransport` used here."""

    def write(self, data: bytes | memoryview) -> None: ...
    def get_write_buffer_size(self) -> int: ...


NO_FD = -1


class Outbox:
    """Writes to one connection; the module docstring states its rules."""

    __slots__ = ("_fd", "_limit", "_transport", "closed", "direct_fd", "window")

    def __init__(self, transport: BufferedTransport, fd: int | None, limit: int, window: int = 0) -> None:
        """Write to `transport`, or straight to `fd` if given. TLS requires None. `limit` is in bytes.

        `window` is that of the connection's compression, 0 without one: the frames offered may have that form.
        """
        self._transport = transport
        self._fd = NO_FD if fd is None else fd
        self._limit = limit
        self.direct_fd = NO_FD
        """The descriptor while the transport's buffer is empty, so that the next bytes may go there; else `NO_FD`.
        The delivery loop reads it, writes to it, and passes the remainder to `write_rest`."""
        self.closed = False
        self.window = window

    @property
    def is_direct(self) -> bool:
        """Whether bytes are written to the descriptor as they are: not under TLS, nor as a part of a response."""
        return self._fd != NO_FD

    @property
    def buffered(self) -> int:
        """Bytes that the kernel has not accepted yet."""
        return 0 if self.direct_fd != NO_FD or self.closed else self._transport.get_write_buffer_size()

    def offer(self, frames: bytes, write: Write = os.write) -> bool:
        """Accept all of these bytes or none; return False if they exceed the limit.

        A closed outbox accepts everything and drops it.
        """
        if self.closed:
            return True
        buffered = self.buffered
        if buffered + len(frames) > self._limit:
            return False
        self.direct_fd = NO_FD if buffered else self._fd
        self._put(frames, write)
        return True

    def force(self, frames: bytes, write: Write = os.write) -> None:
        """Accept these bytes above the limit: for what is bounded by other means, such as one reply."""
        if not self.closed:
            self._put(frames, write)

    def write_rest(self, frames: bytes, sent: int) -> None:
        """Give the transport what a direct write did not send."""
        self.direct_fd = NO_FD
        self._transport.write(memoryview(frames)[sent:] if sent else frames)

    def close(self) -> None:
        """Write nothing more."""
        self.closed = True
        self.direct_fd = NO_FD

    def _put(self, frames: bytes, write: Write) -> None:
        sent = 0
        if self.direct_fd != NO_FD:
            try:
                sent = write(self.direct_fd, frames)
            except OSError:
                # Full or broken: the transport detects which, and acts on it.
                sent = 0
        if sent < len(frames):
            self.write_rest(frames, sent)
