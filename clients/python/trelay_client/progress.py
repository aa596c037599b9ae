"""Tells whether anything arrives, also while a large frame is not complete."""

import struct
import sys
from socket import IPPROTO_TCP

import aiohttp

if sys.platform == "linux":
    from socket import TCP_INFO

_SIZE = 256
_BYTES_RECEIVED = 128
"""The offset of `tcpi_bytes_received` in `struct tcp_info` (linux/tcp.h)."""


def bytes_received(socket: aiohttp.ClientWebSocketResponse[bool]) -> int:
    """Return a number that grows as bytes arrive; 0 where the system does not tell."""
    peer = socket.get_extra_info("socket")
    if peer is None or sys.platform != "linux":
        return 0
    try:
        info = peer.getsockopt(IPPROTO_TCP, TCP_INFO, _SIZE)
        return int(struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0])
    except (OSError, struct.error):
        return 0
