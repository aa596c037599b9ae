"""The files that a source knows, matched against a listing of its folder. No I/O.

A file is known by its inode. If the inode is gone, a file of the same name with the same contents is the same file (an
editor that writes a copy and renames it, a disk that was mounted again). The caller that opens the file compares the
contents.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.progress import Count, Progress, number_of


class PresentFile(NamedTuple):
    """A file that was found."""

    file: FileStat
    file_id: str | None
    """Its id if the inode is known."""


class Listing(NamedTuple):
    """The files of a folder, matched against the known ones."""

    present: list[PresentFile]
    missing: list[str]
    """Ids of known files whose inode was not found."""


class Catalogue:
    """The known files by id, and since when each missing one is missing."""

    def __init__(self, count: Count, files: dict[str, Progress], forget_after: float) -> None:
        """`forget_after` is in seconds."""
        self.count = count
        self.files = files
        self._forget_after = forget_after
        self._missing: dict[str, float] = {}

    def classify(self, found: Sequence[FileStat], now: float) -> Listing:
        """Match found files against the known ones and note which are missing; `now` is of a monotonic clock."""
        inodes = {file.inode: file_id for file_id, file in self.files.items()}
        files: dict[tuple[int, int], FileStat] = {}
        for file in found:
            files.setdefault(file.inode, file)  # of several hard links only the first
        missing = [file_id for inode, file_id in inodes.items() if inode not in files]
        present = [PresentFile(file, inodes.get(inode)) for inode, file in files.items()]
        self._missing = {file_id: self._missing.get(file_id, now) for file_id in missing}
        return Listing(present, missing)

    def candidates(self, file: FileStat, missing: Iterable[str]) -> list[str]:
        """Return the missing files that `file` may be: of the same name and not larger. The newest comes first."""
        known = self.files
        same = [each for each in missing if known[each].path == file.path and known[each].offset <= file.size]
        return sorted(same, key=number_of, reverse=True)

    def move(self, file_id: str, file: FileStat) -> Progress:
        """Update the path and the inode of a known file; return its progress."""
        known = self.files[file_id]
        if (known.path, *known.inode) != (file.path, *file.inode):
            known = msgspec.structs.replace(known, path=file.path, dev=file.dev, ino=file.ino)
            self.files[file_id] = known
        return known

    def missing_for(self, file_id: str, now: float) -> float:
        """Return for how many seconds a file has been missing; 0 if it is not missing."""
        return now - self._missing.get(file_id, now)

    def expired(self, now: float) -> Iterable[str]:
        """Return the files that have been missing for longer than `forget_after`."""
        return [file_id for file_id, since in self._missing.items() if now - since > self._forget_after]

    @property
    def next_number(self) -> int:
        """The number of the next new file."""
        return self.count.files + 1

    def add(self, file_id: str, progress: Progress) -> None:
        """Add a new file, which has the next number."""
        self.count = Count(self.count.files + 1)
        self.files[file_id] = progress

    def forget(self, file_id: str) -> bool:
        """Remove a file; return whether it was known."""
        self._missing.pop(file_id, None)
        return self.files.pop(file_id, None) is not None
