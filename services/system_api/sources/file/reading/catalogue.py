"""The files that a source knows, matched against the files that were found. No I/O.

A file is known by its inode. If the inode is gone, a file of the same name with the same contents is the same file (an
editor that writes a copy and renames it, a disk that was mounted again). The caller that opens the file compares the
contents.
"""

from collections.abc import Container, Iterable

import msgspec

from services.system_api.sources.file.filesystem import FileStat, Inode
from services.system_api.sources.file.reading.progress import Count, Progress, number_of


def _may_be(known: Progress, file: FileStat) -> bool:
    # Before `begin`, too little of a file may have been read to compare its contents.
    return known.begin <= known.offset <= file.size


class Catalogue:
    """The known files by id, and since when each missing one is missing."""

    def __init__(self, count: Count, files: dict[str, Progress], forget_after: float) -> None:
        """`forget_after` is in seconds."""
        self.count = count
        self.files = files
        self.missing: dict[str, float] = {}
        """Ids of files that were not found where they belong, each since when, by a monotonic clock."""
        self._forget_after = forget_after
        self._left: dict[str, set[str]] = {}
        """Files that left, by the path where each was: those that were found again are among them."""
        self._ids = {file.inode: file_id for file_id, file in files.items()}

    def id_of(self, inode: Inode) -> str | None:
        """Return the id of the file with an inode if it is known."""
        return self._ids.get(inode)

    def path_of(self, inode: Inode) -> str | None:
        """Return where the file with an inode was seen last, if it is known."""
        file_id = self._ids.get(inode)
        return None if file_id is None else self.files[file_id].path

    def begin(self, found: Container[Inode], now: float) -> None:
        """Note after the first look which of the known files were not found."""
        for inode, file_id in self._ids.items():
            if inode not in found:
                self._miss(file_id, now)

    def note_found(self, file: FileStat) -> str | None:
        """Note that a file was found; return its id if it is known."""
        if (file_id := self._ids.get(file.inode)) is not None:
            if self.missing.pop(file_id, None) is not None and (left := self._left.pop(file.path, None)):
                self._left[file.path] = left - {file_id}
            self.move(file_id, file)
        return file_id

    def note_gone(self, inode: Inode, now: float) -> str | None:
        """Note that no path leads to an inode any more; return the id of the file if it is known."""
        if (file_id := self._ids.get(inode)) is not None:
            self._miss(file_id, now)
        return file_id

    def continue_in(self, file_id: str) -> None:
        """Note that a missing file is continued in another one."""
        self.missing.pop(file_id, None)

    def candidates(self, file: FileStat) -> list[str]:
        """Return the missing files that `file` may be: of the same name and not larger. The newest comes first."""
        known = self.files
        left = [each for each in self._left.get(file.path, ()) if each in self.missing]
        same = [each for each in left if known[each].path == file.path and _may_be(known[each], file)]
        return sorted(same, key=number_of, reverse=True)

    def move(self, file_id: str, file: FileStat) -> Progress:
        """Update the path and the inode of a known file; return its progress."""
        known = self.files[file_id]
        if (known.path, *known.inode) != (file.path, *file.inode):
            moved = msgspec.structs.replace(known, path=file.path, dev=file.dev, ino=file.ino)
            self._set(file_id, moved)
            return moved
        return known

    def update(self, file_id: str, progress: Progress) -> None:
        """Replace the progress of a known file."""
        self._set(file_id, progress)

    def still_active(self, file_id: str, now: float) -> None:
        """Note that a missing file has changed: it counts as missing from now on."""
        if file_id in self.missing:
            self.missing[file_id] = now

    def missing_for(self, file_id: str, now: float) -> float:
        """Return for how many seconds a file has been missing without a change; 0 if it is not missing."""
        return now - self.missing.get(file_id, now)

    def expired(self, now: float) -> Iterable[str]:
        """Return the files that have been missing for longer than `forget_after`."""
        return [file_id for file_id, since in self.missing.items() if now - since > self._forget_after]

    @property
    def next_number(self) -> int:
        """The number of the next new file."""
        return self.count.files + 1

    def add(self, file_id: str, progress: Progress) -> None:
        """Add a new file, which has the next number."""
        self.count = msgspec.structs.replace(self.count, files=self.count.files + 1)
        self._set(file_id, progress)

    def forget(self, file_id: str) -> bool:
        """Remove a file; return whether it was known."""
        self.missing.pop(file_id, None)
        known = self.files.pop(file_id, None)
        if known is not None:
            self._left.get(known.path, set()).discard(file_id)
        if known is not None and self._ids.get(known.inode) == file_id:
            del self._ids[known.inode]
        return known is not None

    def _miss(self, file_id: str, now: float) -> None:
        if file_id in self.missing:
            return
        self.missing[file_id] = now
        self._left.setdefault(self.files[file_id].path, set()).add(file_id)

    def _set(self, file_id: str, progress: Progress) -> None:
        before = self.files.get(file_id)
        if before is not None and before.inode != progress.inode and self._ids.get(before.inode) == file_id:
            del self._ids[before.inode]
        self.files[file_id] = progress
        self._ids[progress.inode] = file_id
