"""Decides which dropped files are complete, and names what the others wait for.

A file that somebody has open for writing is not complete, however long it has not changed. Where that cannot be known,
as on a file server, it must not have changed for longer.
"""

from collections.abc import Sequence
from pathlib import Path

from services.system_api.sources.file.dropping.stability import Stability
from services.system_api.sources.file.filesystem import FileStat, Inode, close, open_file
from services.system_api.sources.file.options import DropOptions, Ready
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.writers import has_writer, is_local

_STABLE = 5.0
"""Seconds without a change after which a file is complete that nobody has open for writing."""
_STABLE_UNKNOWN = 60.0
"""The same where it is unknown whether somebody has the file open: a writer may pause."""
_SHOWN = 20
"""Files that are named one by one."""


class Readiness:
    """The files of a drop folder that are not taken yet."""

    def __init__(self, options: DropOptions, disk: Disk) -> None:
        self._options = options
        self._disk = disk
        self._stable = options.ready is Ready.STABLE
        given = options.stable_seconds
        self._seconds = (_STABLE if given is None else given) if self._stable else 0.0
        self._seconds_unknown = (_STABLE_UNKNOWN if given is None else given) if self._stable else 0.0
        self._stability = Stability(self._seconds)
        self._written: dict[Inode, str] = {}
        """Files that are open for writing."""
        self._unmarked: dict[Inode, str] = {}
        """Files without a done-file."""
        self._unknown: dict[Inode, str] = {}
        """Files that may be open for writing."""

    def note(self, file: FileStat, now: float) -> None:
        """Note a file that is new or has changed; `now` is of a monotonic clock."""
        self._stability.note(file, now)

    def forget(self, inode: Inode) -> None:
        """Forget a file that was taken, or is gone."""
        self._stability.forget(inode)
        self._written.pop(inode, None)
        self._unmarked.pop(inode, None)
        self._unknown.pop(inode, None)

    async def take(self, now: float) -> Sequence[FileStat]:
        """Return the files that are complete, oldest first, and forget them."""
        ready = self._stability.ready(now)
        if not ready:
            return ()
        if self._stable:
            ready = await self._without_writers(ready, now)
        elif self._options.ready is Ready.DONE_FILE:
            ready = await self._with_done_files(ready)
        for file in ready:
            self.forget(file.inode)
        return ready

    async def complete(self, files: Sequence[FileStat]) -> Sequence[FileStat]:
        """Return those of files that are not taken which are complete, as far as one look can tell."""
        if self._options.ready is Ready.DONE_FILE:
            done = await self._disk.run(_done, files, self._options.done_suffix)
            return [file for file in files if file.inode in done]
        if self._stable:
            written = await self._disk.run(_writers, files)
            return [file for file in files if not written[file.inode]]
        return files

    def waiting(self, now: float) -> list[str]:
        """Return as text what the other files wait for."""
        unstable = "it is taken when it has not changed for {:g} s"
        suffix = self._options.done_suffix
        reasons = [f"{file.path}: {unstable.format(self._seconds)}" for file in self._stability.unready(now)]
        reasons += [f"{path}: open for writing by another process" for path in self._written.values()]
        reasons += [f"{path}: there is no {Path(path).name}{suffix} yet" for path in self._unmarked.values()]
        reasons += [f"{path}: {unstable.format(self._seconds_unknown)}" for path in self._unknown.values()]
        more = len(reasons) - _SHOWN
        return reasons if more <= 0 else [*reasons[:_SHOWN], f"and {more} more files like these"]

    async def _without_writers(self, files: list[FileStat], now: float) -> list[FileStat]:
        """Return the files that nobody has open for writing, as far as that is known."""
        written = await self._disk.run(_writers, files)
        ready = []
        self._written = {file.inode: file.path for file in files if written[file.inode]}
        self._unknown = {}
        for file in files:
            if written[file.inode]:
                continue
            if written[file.inode] is None and self._stability.age(file.inode, now) < self._seconds_unknown:
                self._unknown[file.inode] = file.path
            else:
                ready.append(file)
        return ready

    async def _with_done_files(self, files: list[FileStat]) -> list[FileStat]:
        done = await self._disk.run(_done, files, self._options.done_suffix)
        self._unmarked = {file.inode: file.path for file in files if file.inode not in done}
        return [file for file in files if file.inode in done]


def _writers(files: Sequence[FileStat]) -> dict[Inode, bool | None]:
    """Return of each file whether it is open for writing; None if that is unknown. Blocking."""
    local = {folder: is_local(folder) for folder in {str(Path(file.path).parent) for file in files}}
    found = {}
    for file in files:
        written = is_written(file)
        # Of a file server, only writers on this machine are seen.
        found[file.inode] = written if written or local[str(Path(file.path).parent)] else None
    return found


def is_written(file: FileStat) -> bool | None:
    """Return whether a process of this machine has a file open for writing; None if that is unknown. Blocking."""
    descriptor = open_file(file.path, file.inode)
    if descriptor is None:
        return None
    try:
        return has_writer(descriptor)
    finally:
        close(descriptor)


def _done(files: Sequence[FileStat], suffix: str) -> set[Inode]:
    """Return the files that have a done-file. Blocking."""
    return {file.inode for file in files if Path(file.path + suffix).exists()}
