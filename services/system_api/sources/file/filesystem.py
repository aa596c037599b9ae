"""Blocking file system calls, for an I/O thread: find files, open them, read on.

A file is opened by its path and checked by its inode: a path that names another file by then is detected.
"""

import glob
import os
import re
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from services.system_api.sources.file.globbing import expand
from shared.errors import TrelayError, Unavailable

_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Without O_NONBLOCK, opening a pipe in the place of a file would block until it has a writer."""

_ESCAPED = re.compile(r"\[([*?[])\]")
"""What `glob.escape` writes for a character that would be a wildcard."""


class FileStat(NamedTuple):
    """A file as a listing of its folder shows it."""

    path: str
    dev: int
    ino: int
    size: int
    mtime: int
    """Nanoseconds."""

    @property
    def inode(self) -> tuple[int, int]:
        """Device and inode number: unique among the files that exist at the same time."""
        return self.dev, self.ino


class FileError(TrelayError):
    """An operation on one file failed; other files are not affected. The text names the file."""


class Replaced(TrelayError):
    """The path names another file now."""


class Rewritten(TrelayError):
    """The contents that were read are no longer in the file."""


def folder_of(pattern: str) -> str:
    """Return the deepest folder of a pattern that has no wildcard; it must exist."""
    folder = Path(pattern).parent
    while is_glob(str(folder)):
        folder = folder.parent
    return literal(str(folder))


def is_glob(pattern: str) -> bool:
    """Whether a path has wildcards; an escaped character, such as `[*]`, is none."""
    return glob.has_magic(_ESCAPED.sub("", pattern))


def literal(path: str) -> str:
    """Return a path without wildcards as the system knows it: with the characters that were escaped."""
    return _ESCAPED.sub(r"\1", path)


def list_files(pattern: str) -> list[FileStat]:
    """Return the regular files of a glob, oldest first.

    Raises:
        Unavailable: the folder does not exist or cannot be read.
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
            continue  # deleted meanwhile, or a broken link
        if stat.S_ISREG(status.st_mode):
            found.append(_found(path, status))
    return sorted(found, key=lambda file: (file.mtime, file.path))


def is_undecodable(path: str) -> bool:
    """Whether a path is not UTF-8: then neither a checkpoint nor an error could name it."""
    if path.isascii():
        return False
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return False


def still_exists(path: str, inode: tuple[int, int]) -> bool:
    """Whether a file is still at its path; true if that cannot be checked, as in a folder that may not be entered."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return (status.st_dev, status.st_ino) == inode


def find_inodes(folders: Iterable[str], inodes: frozenset[tuple[int, int]]) -> list[FileStat]:
    """Return the files of these folders that have one of these inodes, under any name."""
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
        raise Replaced(f"{path}: found another file in its place")


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
        return _found(path, os.fstat(descriptor))
    except OSError as exc:
        raise FileError(f"{path}: {exc.strerror}") from exc


def is_deleted(descriptor: int) -> bool:
    """Whether an open file has no name left: its bytes exist only while it is open."""
    try:
        return os.fstat(descriptor).st_nlink == 0
    except OSError:
        return True  # deleted on a file server, for example


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


def _found(path: str, status: os.stat_result) -> FileStat:
    return FileStat(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
