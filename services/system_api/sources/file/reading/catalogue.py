"""Which files a source knows, and what a look at the folder says of them. No I/O.

A file is known by its inode; where that is gone, by its name, if the contents agree (an editor that writes a copy and
renames it, a disk that was mounted again). Contents are checked by whoever opens the file.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from services.system_api.sources.file.filesystem import Found
from services.system_api.sources.file.reading.progress import Count, Progress, number_of


class Present(NamedTuple):
    """A file that was found."""

    file: Found
    known_as: str | None
    """Its id, where the inode is known."""


class Sorted(NamedTuple):
    """What a look at the folder found."""

    present: list[Present]
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

    def sort(self, found: Sequence[Found], now: float) -> Sorted:
        """Tell known files from new ones, and note which are missing; `now` is of a monotonic clock."""
        inodes = {file.inode: known_as for known_as, file in self.files.items()}
        files: dict[tuple[int, int], Found] = {}
        for file in found:
            files.setdefault(file.inode, file)  # one name is enough of a file with several
        missing = [known_as for inode, known_as in inodes.items() if inode not in files]
        present = [Present(file, inodes.get(inode)) for inode, file in files.items()]
        self._missing = {known_as: self._missing.get(known_as, now) for known_as in missing}
        return Sorted(present, missing)

    def namesakes(self, file: Found, missing: Iterable[str]) -> list[str]:
        """Return which of the missing files had this name and were no larger: the file may be one, if it agrees.

        The one that was begun last comes first.
        """
        progress = self.files
        same = [each for each in missing if progress[each].path == file.path and progress[each].offset <= file.size]
        return sorted(same, key=number_of, reverse=True)

    def move(self, known_as: str, file: Found) -> Progress:
        """Note where a file is now, and as which inode; return what is known of it."""
        known = self.files[known_as]
        if (known.path, *known.inode) != (file.path, *file.inode):
            known = msgspec.structs.replace(known, path=file.path, dev=file.dev, ino=file.ino)
            self.files[known_as] = known
        return known

    def missing_for(self, known_as: str, now: float) -> float:
        """Return for how many seconds a file has been missing; 0 where it is not."""
        return now - self._missing.get(known_as, now)

    def expired(self, now: float) -> Iterable[str]:
        """Return the files that have been missing for so long that they will not come back."""
        return [known_as for known_as, since in self._missing.items() if now - since > self._forget_after]

    @property
    def next_number(self) -> int:
        """The number of the next file that is new."""
        return self.count.files + 1

    def add(self, known_as: str, progress: Progress) -> None:
        """Know a file that is new; it has the next number."""
        self.count = Count(self.count.files + 1)
        self.files[known_as] = progress

    def forget(self, known_as: str) -> bool:
        """Know a file no more; return whether it was known."""
        self._missing.pop(known_as, None)
        return self.files.pop(known_as, None) is not None
