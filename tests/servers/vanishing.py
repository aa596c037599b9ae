"""Peers that vanish: neither they nor their kernel send anything any more, as when a network is lost."""

import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26
_RETURN = 0x06


def vanish(peer: socket.socket) -> None:
    """Let the kernel drop what arrives for this socket, without an acknowledgement. Linux only."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))
    peer.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(drop)))
