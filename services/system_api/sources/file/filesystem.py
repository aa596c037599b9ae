"""The blocking calls, for the source's own thread: find files, open them, read on.

A file is opened by its path and checked by its inode, so that one that was renamed in between is never taken for
another.
"""

import glob
import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from services.system_api.sources.file.globbing import expand
from shared.errors import TrelayError, Unavailable

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Without O_NONBLOCK, opening a pipe that took a file's place would wait for a writer."""


class FileStat(NamedTuple):
    """A file as a look at its folder shows it."""

    path: str
    dev: int
    ino: int
    size: int
    mtime: int
    """Nanoseconds."""

    @property
    def inode(self) -> tuple[int, int]:
        """What tells it from every file that exists at the same time."""
        return self.dev, self.ino


class FileError(TrelayError):
    """One file cannot be read; the others can. The text names it."""


class Replaced(TrelayError):
    """The path leads to another file by now."""


class Rewritten(TrelayError):
    """What was read before is not there any more: the file has other contents now."""


def folder_of(pattern: str) -> str:
    """Return the deepest folder whose name is certain: what must exist for the pattern to mean anything."""
    folder = Path(pattern).parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    return str(folder)


def is_glob(pattern: str) -> bool:
    """Whether a path may lead to several files."""
    return glob.has_magic(pattern)


def list_files(pattern: str) -> list[FileStat]:
    """Return the regular files of a glob, oldest first.

    Raises:
        Unavailable: the folder is not there or cannot be read.
    """
    folder = folder_of(pattern)
    try:
        os.scandir(folder).close()
    except OSError as exc:
        raise Unavailable(f"folder {folder}: {exc.strerror}") from exc
    found = []
    for path in expand(pattern):
        try:
            status = os.stat(path)  # noqa: PTH116 -- of ten thousand files, a Path for each costs more than all the rest
        except OSError:
            continue  # gone again, or a link that leads nowhere
        if stat.S_ISREG(status.st_mode):
            found.append(_found(path, status))
    return sorted(found, key=lambda file: (file.mtime, file.path))


def is_undecodable(path: str) -> bool:
    """Whether a path is no UTF-8 text: neither a checkpoint nor an event's place could name it."""
    if path.isascii():
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return False


def still_exists(path: str, inode: tuple[int, int]) -> bool:
    """Whether a file is where it was, for all that can be told: a folder that may not be entered hides it."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return (status.st_dev, status.st_ino) == inode


def find_inodes(folders: Iterable[str], inodes: frozenset[tuple[int, int]]) -> list[FileStat]:
    """Return the files of these folders that have one of these inodes, whatever they are called now."""
    numbers = {number for _, number in inodes}
    found = []
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                candidates = [entry.path for entry in entries if entry.inode() in numbers]
        except OSError:
            continue
        for path in candidates:
            if is_undecodable(path):
                continue
            try:
                file = _found(path, Path(path).stat(follow_symlinks=False))
            except OSError:
                continue
            if file.inode in inodes:
                found.append(file)
    return found


def open_verified(path: str, inode: tuple[int, int], spans: Sequence[tuple[int, int]]) -> tuple[int, list[bytes]]:
    """Open a file; return its descriptor and the bytes of each span (offset and size), shorter where the file ends.

    Raises:
        FileTrouble: it cannot be read.
        Replaced: it is another file by now, or gone.
    """
    try:
        descriptor = os.open(path, _OPEN)
    except FileNotFoundError as exc:
        raise Replaced(f"{path} is not there any more") from exc
    except OSError as exc:
        raise FileError(f"{path}: {exc.strerror}") from exc
    try:
        _check_inode(descriptor, path, inode)
        return descriptor, [os.pread(descriptor, size, offset) for offset, size in spans]
    except OSError as exc:
        os.close(descriptor)
        raise FileError(f"{path}: {exc.strerror}") from exc
    except Replaced:
        os.close(descriptor)
        raise


def _check_inode(descriptor: int, path: str, inode: tuple[int, int]) -> None:
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) != inode:
        raise Replaced(f"{path} is another file by now")


def close(descriptor: int) -> None:
    """Close a file; what it has to say about that (of a disk that is gone) helps nobody."""
    with suppress(OSError):
        os.close(descriptor)


def status_of(descriptor: int, path: str) -> FileStat:
    """Return what an open file looks like now.

    Raises:
        FileTrouble: nobody can tell.
    """
    try:
        return _found(path, os.fstat(descriptor))
    except OSError as exc:
        raise FileError(f"{path}: {exc.strerror}") from exc


def is_deleted(descriptor: int) -> bool:
    """Whether an open file has no name left anywhere, so that nothing but it keeps its bytes."""
    try:
        return os.fstat(descriptor).st_nlink == 0
    except OSError:
        return True  # gone from a file server, say


def read_on(descriptor: int, path: str, position: int, before: bytes, size: int) -> bytes:
    """Return up to `size` bytes from a position on; nothing at the end of the file.

    Raises:
        FileTrouble: the file cannot be read.
        Rewritten: the bytes before the position are not `before`, as they were when they were read.
    """
    start = position - len(before)
    try:
        data = os.pread(descriptor, len(before) + size, start)
    except OSError as exc:
        raise FileError(f"{path}: {exc.strerror}") from exc
    if not data.startswith(before):
        raise Rewritten(f"{path}: what was read up to byte {position} is not there any more")
    return data[len(before) :]


def _found(path: str, status: os.stat_result) -> FileStat:
    return FileStat(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
