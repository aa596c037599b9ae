"""Finds files that left the folders of a source: by their inode, or by names like theirs. Blocking, for an I/O thread.

Rotation puts a file near where it was: into its own folder, a folder in it or beside it, or the folder of the file that
a link led to.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from services.system_api.sources.file.filesystem import FileStat, Inode, is_undecodable, regular_file

_ENTRIES = 200_000
"""Maximum number of names that a search reads."""
_BOUNDARY = re.compile(r"[-._]")
"""What separates the name of a file from what rotation appends."""
_COMPRESSED = (".gz", ".zst", ".bz2", ".xz", ".lz4", ".zip")


def is_compressed(path: str) -> bool:
    """Whether the name of a file says that it is compressed."""
    return path.lower().endswith(_COMPRESSED)


def beginnings_of(name: str) -> Iterator[str]:
    """Yield what the name of a file may have been before rotation appended something."""
    for boundary in _BOUNDARY.finditer(name):
        yield name[: boundary.start()]


class Neighbourhood:
    """The files near some paths."""

    def __init__(self, paths: Iterable[str], *, far: bool = True) -> None:
        """Read the names in the folders of `paths`; if `far`, in the folders in and beside them too.

        Far files are found only by their inode: another folder may have files of the same names and beginnings.
        """
        self.complete = True
        """Whether all names were read."""
        self._left = _ENTRIES
        self._near = True
        self._numbers: dict[int, list[str]] = defaultdict(list)
        self._beginnings: dict[str, list[str]] = defaultdict(list)
        folders = dict.fromkeys(str(Path(path).parent) for path in paths)
        seen = set[str]()
        self._read(folders, seen)
        self._near = False
        if far:
            self._read([below for folder in folders for below in _folders_in(folder)], seen)
            parents = dict.fromkeys(str(Path(folder).parent) for folder in folders)
            self._read([below for folder in parents for below in _folders_in(folder)], seen)

    def by_inode(self, inode: Inode) -> FileStat | None:
        """Return the file with an inode."""
        for path in self._numbers.get(inode[1], ()):
            file = regular_file(path, follow=False)
            if file is not None and file.inode == inode:
                return file
        return None

    def named_like(self, path: str) -> Iterator[FileStat]:
        """Yield files in the folder of `path` whose names begin as its name: rotation may have appended the rest.

        `a.log` has the names `a.log.1`, `a.log-20260101` and `a-20260101.log` beside it.
        """
        name = Path(path)
        beginnings = (str(name), str(name.with_suffix("")))
        found = dict.fromkeys(each for beginning in beginnings for each in self._beginnings.get(beginning, ()))
        for candidate in found:
            if candidate != path and (file := regular_file(candidate, follow=False)) is not None:
                yield file

    def _read(self, folders: Iterable[str], seen: set[str]) -> None:
        for folder in folders:
            if folder in seen:
                continue
            seen.add(folder)
            if self._left <= 0:
                self.complete = False
                return
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        self._left -= 1
                        self._note(entry)
            except OSError:
                continue

    def _note(self, entry: os.DirEntry[str]) -> None:
        if is_undecodable(entry.path):
            return
        self._numbers[entry.inode()].append(entry.path)
        folder = entry.path.removesuffix(entry.name)
        for beginning in beginnings_of(entry.name) if self._near else ():
            self._beginnings[folder + beginning].append(entry.path)


def _folders_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
