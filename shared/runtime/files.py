"""Writes files so that a crash leaves the old content or the new one, and finds out which have changed."""

import os
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[int, int, int] | None, ...]
"""Another one means that a file has changed."""


def stamp(paths: Iterable[Path | None]) -> Stamp:
    """Return what identifies the content of some files as they are now; None stands for no file."""
    return tuple(_identity(path) for path in paths if path is not None)


def _identity(path: Path) -> tuple[int, int, int] | None:
    # stat follows symbolic links: Kubernetes replaces the folder that they point to.
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)


class Settled:
    """Decides when files that have changed may be read: once they are the same at two looks in a row.

    A file that an editor or a copy is still writing differs from look to look.
    """

    def __init__(self) -> None:
        self._last: Stamp | None = None
        self._taken: Stamp | None = None

    def look(self, found: Stamp) -> bool:
        """Take what the files are now; return whether they are to be read. The first two looks always lead to that."""
        ready = found == self._last and found != self._taken
        self._last = found
        if ready:
            self._taken = found
        return ready


def replace(path: Path, content: bytes) -> None:
    """Replace a file as a whole: after a crash it has the old content or the new one."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
