"""How the keys of all steps share one partition of the changelog. Sans-I/O.

A key is the number of an instance of a step (4 bytes), the kind of the key (1 byte), and the step's own key. Of a timer
that is a time in milliseconds (8 bytes) before the key that it belongs to, so that timers are ordered by their times.
"""

import hashlib
import struct

DEFINITIONS = b"\0\0\0\0d"
"""The key of the instances that there are."""

VALUE, ITEM, NUMBER, EVENT_TIMER, WALL_TIMER = b"v", b"i", b"m", b"e", b"w"
TIMERS = (EVENT_TIMER, WALL_TIMER)
ORDERED = (ITEM, *TIMERS)
KINDS = (VALUE, ITEM, NUMBER, *TIMERS)
"""Values, values in order, numbers of the step itself, and timers by the time of events or by the clock."""

LONGEST_KEY = 1024
"""Bytes of the largest own key. A longer one is replaced by its hash: an index of the PostgreSQL bus holds keys."""

_TIME = struct.Struct(">Q")
TIME_BYTES = _TIME.size
LAST_TIME = 2**63


def prefix_of(instance: int) -> bytes:
    """Return what the keys of an instance begin with."""
    return struct.pack(">I", instance)


def bounded(key: bytes) -> bytes:
    """Return a key of a bounded length; other keys become other keys."""
    if len(key) <= LONGEST_KEY:
        return key
    return key[: LONGEST_KEY - hashlib.sha256().digest_size] + hashlib.sha256(key).digest()


def time_key(at_ms: int) -> bytes:
    """Return a time as bytes that are ordered as the times are."""
    return _TIME.pack(min(max(at_ms, 0), LAST_TIME))


def time_of(packed: bytes) -> int:
    """Return the time that begins a timer's own key."""
    found: int = _TIME.unpack_from(packed)[0]
    return found
