"""Tells when a file was created. Blocking, for an I/O thread."""

import ctypes
import sys

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_SIZE = 256
"""Bytes of `struct statx`. Source: statx(2), <linux/stat.h>."""
_MASK = slice(0, 4)
_SECONDS = slice(80, 88)
_NANOSECONDS = slice(88, 92)


_statx = getattr(ctypes.CDLL(None), "statx", None) if sys.platform == "linux" else None


def birth_of(descriptor: int) -> int | None:
    """Return when an open file was created, in nanoseconds since 1970; None where the file system does not tell.

    It stays the same when a file is renamed or changed. Two files that were created within some milliseconds may have
    the same time.
    """
    if _statx is None:
        return None
    found = ctypes.create_string_buffer(_SIZE)
    if _statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, found) != 0:
        return None
    status = found.raw
    if not int.from_bytes(status[_MASK], sys.byteorder) & _STATX_BTIME:
        return None
    seconds = int.from_bytes(status[_SECONDS], sys.byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(status[_NANOSECONDS], sys.byteorder)
