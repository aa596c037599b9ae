"""Messages between a replica and the processes that run its functions: a length, then bytes. Sans-I/O."""

import struct
from enum import IntEnum

HEAD = struct.Struct("!BI")


class Kind(IntEnum):
    """What a message holds."""

    READY = 0
    """The process has imported the function."""
    CALL = 1
    """An entity and the attributes: a JSON array."""
    RETURNED = 2
    """The entities that the function returned: a JSON array."""
    REJECTED = 3
    """Why the event cannot pass."""
    UNAVAILABLE = 4
    """What the function waits for."""


def frame(kind: Kind, content: bytes = b"") -> bytes:
    """Return the bytes of a message."""
    return HEAD.pack(kind, len(content)) + content
