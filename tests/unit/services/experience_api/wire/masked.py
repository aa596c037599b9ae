"""Encodes the frames of a client (RFC 6455, 5.2)."""

_MASK = b"\x37\xfa\x21\x3d"


def masked(first: int, payload: bytes) -> bytes:
    """Return a masked frame; `first` is its first byte: FIN, the reserved bits and the opcode."""
    length = len(payload)
    if length < 126:
        size = bytes((0x80 | length,))
    elif length < 0x10000:
        size = b"\xfe" + length.to_bytes(2, "big")
    else:
        size = b"\xff" + length.to_bytes(8, "big")
    body = bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(payload))
    return bytes((first,)) + size + _MASK + body
