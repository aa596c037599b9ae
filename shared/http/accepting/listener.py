"""Accepts connections at a pace: a few in each turn of the event loop.

asyncio and uvloop accept all connections that wait, up to the backlog. When a thousand clients reconnect at once, all
other work, such as delivering an event, then waits for half a second.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ssl import SSLContext

from shared.http.accepting.crowds import CrowdShare
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds to wait when the process has no descriptor left."""
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EVERY_ADDRESS = "::"


@dataclass(frozen=True, slots=True)
class Tls:
    """What a connection with TLS needs."""

    context: SSLContext
    handshake_timeout: float


async def bound_sockets(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Listen on every address of a host, with one port for all of them. `::` stands for IPv4 as well.

    Raises:
        OSError: an address is not available.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listening = socket.socket(family, socket.SOCK_STREAM)
            bound.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != _EVERY_ADDRESS))
            own_port = address[1] or bound[0].getsockname()[1]
            listening.bind((address[0], own_port, *address[2:]))
            listening.settimeout(0)
            listening.listen(backlog)
    except OSError:
        for listening in bound:
            listening.close()
        raise
    return bound


@contextmanager
def accepting(
    sockets: Sequence[socket.socket], protocol: Callable[[], asyncio.Protocol], tasks: Tasks, tls: Tls | None
) -> Iterator[None]:
    """Accept connections for as long as the context lasts, then close the sockets."""
    loop = asyncio.get_running_loop()
    acceptors = [_Acceptor(listening, protocol, tasks, tls) for listening in sockets]
    for acceptor in acceptors:
        acceptor.resume()
    try:
        yield
    finally:
        for acceptor in acceptors:
            acceptor.close(loop)


class _Acceptor:
    """Accepts from one socket."""

    def __init__(
        self, listening: socket.socket, protocol: Callable[[], asyncio.Protocol], tasks: Tasks, tls: Tls | None
    ) -> None:
        self._listening = listening
        self._protocol = protocol
        self._tasks = tasks
        self._tls = tls
        self._share = CrowdShare()
        self._closed = False

    def resume(self) -> None:
        if not self._closed:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        self._closed = True
        loop.remove_reader(self._listening)
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(self._share.of_turn(asyncio.get_running_loop().time())):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    raise
                self._pause(exc)
                return
            connection.settimeout(0)
            _ = self._tasks.start("accept connection", self._serve(connection))

    def _pause(self, exc: OSError) -> None:
        logger.error("cannot accept connections; will retry", extra={"error": str(exc), "retry_in_s": _PAUSE})
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        loop.call_later(_PAUSE, self.resume)

    async def _serve(self, connection: socket.socket) -> None:
        # A peer that is gone already, or fails in its TLS handshake, is no error of the service.
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=None if self._tls is None else self._tls.context,
                ssl_handshake_timeout=None if self._tls is None else self._tls.handshake_timeout,
            )
