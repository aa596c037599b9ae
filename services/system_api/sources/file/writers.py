"""Tells whether another process has a file open for writing. Blocking, for an I/O thread."""

import fcntl
import signal
from contextlib import suppress

_SIGNAL = getattr(fcntl, "F_SETSIG", 10)
"""Sets the signal that reports a conflict (Linux; not named by every version of Python)."""
_LEASE = getattr(fcntl, "F_SETLEASE", None)


def has_writer(descriptor: int) -> bool | None:
    """Return whether anyone has an open file, opened for reading here, open for writing; None if that is unknown.

    A read lease is refused while the file is open for writing (fcntl(2), F_SETLEASE). A lease needs Linux, a file
    system of this machine, and the owner of the file or CAP_LEASE. Writers on other machines are not seen.
    """
    if _LEASE is None:
        return None
    try:
        # The default signal, SIGIO, would end the process if someone opened the file right now. SIGURG is ignored.
        fcntl.fcntl(descriptor, _SIGNAL, signal.SIGURG)
        fcntl.fcntl(descriptor, _LEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    with suppress(OSError):
        fcntl.fcntl(descriptor, _LEASE, fcntl.F_UNLCK)
    return False
