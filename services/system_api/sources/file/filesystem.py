"""Blocking file system calls on single files, for an I/O thread: open them, read on.

A file is opened by its path and checked by its inode: a path that names another file by then is detected.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from shared.errors import TrelayError

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Without O_NONBLOCK, opening a pipe in the place of a file would block until it has a writer."""

Inode = tuple[int, int]
"""Device and inode number: unique among the files that exist at the same time."""


class FileStat(NamedTuple):
    """A file as a look at it shows it."""

    path: str
    dev: int
    ino: int
    size: int
    mtime: int
    """Nanoseconds."""

    @property
    def inode(self) -> Inode:
        """Device and inode number."""
        return self.dev, self.ino


class FileError(TrelayError):
    """An operation on one file failed; other files are not affected. The text names the file."""


class Replaced(TrelayError):
    """The path names another file now."""


class Rewritten(TrelayError):
    """The contents that were read are no longer in the file."""


def is_undecodable(path: str) -> bool:
    """Whether a path is not UTF-8: then neither a checkpoint nor an error could name it."""
    if path.isascii():
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return False


def regular_file(path: str, *, follow: bool = True) -> FileStat | None:
    """Return a file as it is now; None if there is none, or if it is no regular file."""
    try:
        status = os.stat(path, follow_symlinks=follow)  # noqa: PTH116 -- a Path for each file costs more than the rest
    except OSError:
        return None
    return stat_of(path, status) if stat.S_ISREG(status.st_mode) else None


def still_exists(path: str, inode: Inode) -> bool:
    """Whether a file is still at its path; true if that cannot be checked, as in a folder that may not be entered."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return (status.st_dev, status.st_ino) == inode


def is_folder_away(path: str, inode: Inode) -> bool:
    """Whether the folder of a file is missing, or on another file system than the file: its disk is not mounted."""
    try:
        return Path(path).parent.stat().st_dev != inode[0]
    except OSError:
        return True


def is_unmounted(path: str, inode: Inode) -> bool:
    """Whether the folder of a file, or what is left of the way to it, is on another file system than the file was."""
    for folder in Path(path).parents:
        with suppress(OSError):
            return folder.stat().st_dev != inode[0]
    return True


def open_file(path: str, inode: Inode) -> int | None:
    """Return a descriptor of a file; None if its path names another file by now, or none that can be opened."""
    try:
        return open_verified(path, inode, [])[0]
    except (FileError, Replaced):
        return None


def open_verified(path: str, inode: Inode, spans: Sequence[tuple[int, int]]) -> tuple[int, list[bytes]]:
    """Open a file; return its descriptor and the bytes of each span (offset and size), fewer at the end of the file.

    Raises:
        FileError: it cannot be read.
        Replaced: its path names another file now, or none.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError as exc:
        raise Replaced(f"{path}: the file no longer exists") from exc
    except OSError as exc:
        raise FileError(f"{path}: {exc.strerror}") from exc
    try:
        _check_inode(descriptor, path, inode)
    except Replaced:
        os.close(descriptor)
        raise
    return descriptor, read_spans(descriptor, path, spans)


def _check_inode(descriptor: int, path: str, inode: Inode) -> None:
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) != inode:
        raise Replaced(f"{path}: found another file in its place")


def read_spans(descriptor: int, path: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return the bytes of each span (offset and size) of an open file; close it if that fails.

    Raises:
        FileError: it cannot be read.
    """
    try:
        return [os.pread(descriptor, size, offset) for offset, size in spans]
    except OSError as exc:
        close(descriptor)
        raise FileError(f"{path}: {exc.strerror}") from exc


def close(descriptor: int) -> None:
    """Close a file; an error (of a disk that is gone, for example) is ignored: nothing was written."""
    with suppress(OSError):
        os.close(descriptor)


def status_of(descriptor: int, path: str) -> FileStat:
    """Return the current status of an open file.

    Raises:
        FileError: the status cannot be read.
    """
    try:
        return stat_of(path, os.fstat(descriptor))
    except OSError as exc:
        raise FileError(f"{path}: {exc.strerror}") from exc


def is_deleted(descriptor: int) -> bool:
    """Whether an open file has no name left: its bytes exist only while it is open."""
    try:
        return os.fstat(descriptor).st_nlink == 0
    except OSError:
        return True  # deleted on a file server, for example


def path_of(descriptor: int, path: str) -> str:
    """Return where an open file is now, through links; `path` if that is unknown, as for a deleted file."""
    try:
        found = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 -- see above
    except OSError:
        return path  # not on Linux
    return path if found.endswith(" (deleted)") or is_undecodable(found) else found


def read_on(descriptor: int, path: str, position: int, before: bytes, size: int) -> bytes:
    """Return up to `size` bytes from a position on; none at the end of the file.

    Raises:
        FileError: the file cannot be read.
        Rewritten: the bytes right before the position are no longer `before`.
    """
    start = position - len(before)
    try:
        data = os.pread(descriptor, len(before) + size, start)
    except OSError as exc:
        raise FileError(f"{path}: {exc.strerror}") from exc
    if not data.startswith(before):
        raise Rewritten(f"{path}: the contents read up to byte {position} are no longer there")
    return data[len(before) :]


def stat_of(path: str, status: os.stat_result) -> FileStat:
    """Return what the status of a file says."""
    return FileStat(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
