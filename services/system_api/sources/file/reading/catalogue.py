"""Which files a source knows, and what a look at the folder says of them. No I/O.

A file is known by its inode; where that is gone, by its name, if the contents agree (an editor that writes a copy and
renames it, a disk that was mounted again). Contents are checked by whoever opens the file.
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
    """Its id, where the inode is known."""


class Classified(NamedTuple):
    """What a look at the folder found."""

    present: list[PresentFile]
    missing: list[str]
    """The known files that were not found by their inodes."""


class Catalogue:
    """The files that are known, by id, and since when those are missing that were not found."""

    def __init__(self, count: Count, files: dict[str, Progress], forget_after: float) -> None:
        """`forget_after` is in seconds."""
        self.count = count
        self.files = files
        self._forget_after = forget_after
        self._missing: dict[str, float] = {}

    def classify(self, found: Sequence[FileStat], now: float) -> Classified:
        """Tell known files from new ones, and note which are missing; `now` is of a monotonic clock."""
        inodes = {file.inode: file_id for file_id, file in self.files.items()}
        files: dict[tuple[int, int], FileStat] = {}
        for file in found:
            files.setdefault(file.inode, file)  # one name is enough of a file with several
        missing = [file_id for inode, file_id in inodes.items() if inode not in files]
        present = [PresentFile(file, inodes.get(inode)) for inode, file in files.items()]
        self._missing = {file_id: self._missing.get(file_id, now) for file_id in missing}
        return Classified(present, missing)

    def same_name(self, file: FileStat, missing: Iterable[str]) -> list[str]:
        """Return which of the missing files had this name and were no larger: the file may be one, if it agrees.

        The one that was begun last comes first.
        """
        progress = self.files
        same = [each for each in missing if progress[each].path == file.path and progress[each].offset <= file.size]
        return sorted(same, key=number_of, reverse=True)

    def move(self, file_id: str, file: FileStat) -> Progress:
        """Note where a file is now, and as which inode; return what is known of it."""
        known = self.files[file_id]
        if (known.path, *known.inode) != (file.path, *file.inode):
            known = msgspec.structs.replace(known, path=file.path, dev=file.dev, ino=file.ino)
            self.files[file_id] = known
        return known

    def missing_for(self, file_id: str, now: float) -> float:
        """Return for how many seconds a file has been missing; 0 where it is not."""
        return now - self._missing.get(file_id, now)

    def expired(self, now: float) -> Iterable[str]:
        """Return the files that have been missing for so long that they will not come back."""
        return [file_id for file_id, since in self._missing.items() if now - since > self._forget_after]

    @property
    def next_number(self) -> int:
        """The number of the next file that is new."""
        return self.count.files + 1

    def add(self, file_id: str, progress: Progress) -> None:
        """Know a file that is new; it has the next number."""
        self.count = Count(self.count.files + 1)
        self.files[file_id] = progress

    def forget(self, file_id: str) -> bool:
        """Know a file no more; return whether it was known."""
        self._missing.pop(file_id, None)
        return self.files.pop(file_id, None) is not None
