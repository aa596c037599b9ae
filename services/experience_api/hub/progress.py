"""How far a peer has got with what was written to it, as its kernel and ours report it.

The bytes that a peer's kernel has acknowledged show whether it reads: a kernel acknowledges what fits into its receive
buffer, and then only what the program has made room for. Linux reports them in `TCP_INFO`.
"""

import asyncio
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from services.experience_api.hub.heartbeat import Progress

_TCP_INFO_SIZE = 256
_BYTES_ACKED, _SND_WND = 120, 228
"""Offsets in `struct tcp_info` (linux/tcp.h). The window is there since Linux 5.4."""
_CHECKS = 8
"""Checks in one timeout."""


class Socket(Protocol):
    """The part of a socket that is used here; that of uvloop is not derived from Python's."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...
    def fileno(self) -> int: ...


def measure(peer: Socket | None, buffered: int) -> Progress:
    """Measure a connection whose transport has `buffered` bytes. `peer` is its socket, while that is open."""
    if peer is None or sys.platform != "linux":
        return Progress(buffered)
    try:
        info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        (queued,) = struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
        (acknowledged,) = struct.unpack_from("=Q", info, _BYTES_ACKED)
    except (OSError, struct.error):
        return Progress(buffered)  # not TCP, or an old kernel
    window = struct.unpack_from("=I", info, _SND_WND)[0] if len(info) >= _SND_WND + 4 else 0
    return Progress(buffered, acknowledged, queued, window)


@asynccontextmanager
async def stall_timeout(acknowledged: Callable[[], int], timeout: float) -> AsyncIterator[None]:
    """Limit the time without progress, and not the whole time.

    Raises:
        TimeoutError: `acknowledged` has not grown for `timeout` seconds.
    """
    async with asyncio.timeout(timeout) as deadline:
        checks = _Checks(acknowledged, timeout, deadline)
        try:
            yield
        finally:
            checks.end()


class _Checks:
    """Moves a deadline on progress. No closure that refers to itself, which only the garbage collector would free."""

    def __init__(self, acknowledged: Callable[[], int], timeout: float, deadline: asyncio.Timeout) -> None:
        self._acknowledged = acknowledged
        self._timeout = timeout
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._seen = acknowledged()
        self._next = self._loop.call_later(timeout / _CHECKS, self._check)

    def _check(self) -> None:
        if self._deadline.expired():
            return
        if (found := self._acknowledged()) > self._seen:
            self._seen = found
            self._deadline.reschedule(self._loop.time() + self._timeout)
        self._next = self._loop.call_later(self._timeout / _CHECKS, self._check)

    def end(self) -> None:
        self._next.cancel()


def descriptor(transport: asyncio.Transport) -> int | None:
    """Return the file descriptor that plain bytes may be written to; None under TLS."""
    if transport.get_extra_info("sslcontext") is not None:
        return None
    socket = transport.get_extra_info("socket")
    return None if socket is None else int(socket.fileno())
