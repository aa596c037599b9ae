"""Tells whether another process has a file open for writing. Blocking, for an I/O thread."""

import fcntl
import re
import signal
from contextlib import suppress
from pathlib import Path

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


_REMOTE = re.compile(
    r"nfs4?|cifs|smb3?|smbfs|9p|afs|ceph|glusterfs|lustre|gpfs|beegfs|ocfs2|gfs2?|fuse(?:\..*|blk)?|ncpfs|virtiofs"
)
"""File systems on which other machines may write, by their names in /proc/self/mountinfo."""
_OCTAL = re.compile(r"\\([0-7]{3})")


def is_local(path: str) -> bool:
    """Whether only this machine writes to the file system of a path; false if that is unknown."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return False  # not on Linux
    return is_local_mount(mounts, str(Path(path).resolve()))


def is_local_mount(mounts: str, path: str) -> bool:
    """Whether the file system of an absolute path is local; `mounts` has the form of /proc/self/mountinfo (proc(5))."""
    kind, longest = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), before.split()[4])
        below = point if point.endswith("/") else point + "/"
        if (path + "/").startswith(below) and len(below) >= len(longest):
            kind, longest = after.split()[0], below
    return bool(kind) and _REMOTE.fullmatch(kind) is None
