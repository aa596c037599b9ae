"""Files of which nothing more is expected: no longer written to, read to their end, and open for writing nowhere.

    rotated     where `rotated` or a departure says that the file has another successor
    old         one of several in `path`, such as a log of a day, that has not changed for a day

The checkpoint holds what was found. So a file that is deleted while Trelay is not running, as rotation deletes the
oldest one, is no loss.
"""

import heapq
from collections.abc import Sequence
from itertools import islice

from services.system_api.sources.file.filesystem import (
    FileError,
    FileStat,
    Replaced,
    close,
    open_verified,
    status_of,
)
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.reading.jobs import Job
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.progress import Progress
from services.system_api.sources.file.tailing.rotation import Rotation
from services.system_api.sources.file.writers import has_writer, is_local
from shared.runtime.clock import Clock

GRACE = 5.0
"""Seconds after which a file that left counts as gone, and one that is not written to as complete."""
_UNKNOWN_WRITER = 60.0
"""Seconds without a change after which a file is complete, where it is unknown whether it is open elsewhere."""
_OLD = 86_400.0
"""Seconds after which a file that did not leave is old."""
_AT_ONCE = 500
"""Files that one look examines: a hundred thousand would hold up the event loop."""


class Completion:
    """The files of a tailed source that may be complete. Times are of a monotonic clock, where nothing else is said."""

    def __init__(self, glob: Glob, rotation: Rotation, open_files: OpenFiles, clock: Clock) -> None:
        """`glob` is that of the setting `path`."""
        self._glob = glob
        self._rotation = rotation
        self._open_files = open_files
        self._catalogue = open_files.catalogue
        self._clock = clock
        self._pending: dict[str, float] = {}
        """Files that may be complete, each with the time of its last change. Those examined last are at the end."""
        self._ageing: list[tuple[float, str]] = []
        """A heap of the files that may become old, each with the wall-clock time of that."""
        self._aged: set[str] = set()
        """Those that are in the heap."""

    def note(self, file_id: str, file: FileStat, now: float, *, departed: bool = False) -> None:
        """Note that a known file has changed, or its path, or that its end was read."""
        known, left = self._catalogue.files[file_id], departed or self._rotation.is_rotated(file.path)
        old_at = file.mtime / 1e9 + _OLD
        if known.complete:
            old = self._glob.has_wildcards and old_at <= self._clock.time()
            if file.size == known.offset and (left or old):
                return
            self._open_files.save_complete(file_id, complete=False)
        if left:
            self._pending[file_id] = now
        elif self._glob.has_wildcards and file_id not in self._aged:
            self._age(file_id, old_at)

    def note_end(self, job: Job, now: float) -> None:
        """Note that the end of a file was read."""
        assert job.file_id is not None, "it was read"
        self.note(job.file_id, job.file, now, departed=job.departed)

    def note_departed(self, file_id: str, now: float) -> None:
        """Note that a file has left its path."""
        if not self._catalogue.files[file_id].complete:
            self._pending[file_id] = now

    async def look(self, now: float) -> None:
        """Find which files are complete."""
        self._note_old(now)
        due = dict[str, Progress]()
        since = {file_id: self._pending.pop(file_id) for file_id in list(islice(self._pending, _AT_ONCE))}
        for file_id, at in since.items():
            known = self._catalogue.files.get(file_id)
            if known is None or known.ended or known.complete:
                continue
            if now - at <= GRACE:
                self._pending[file_id] = at
            else:
                due[file_id] = known
        if not due:
            return
        states = await self._open_files.disk.run(_states, list(due.values()))
        for (file_id, known), state in zip(due.items(), states, strict=True):
            if state is None:
                continue  # it was moved or deleted
            file, written = state
            if file.size != known.offset or self._open_files.stat_at_end(file_id) != (file.size, file.mtime):
                continue  # it is noted again when its end is read
            if grows_no_more(now - since[file_id], written=written):
                self._open_files.save_complete(file_id, complete=True)
            else:
                self._pending[file_id] = since[file_id]

    def _age(self, file_id: str, at: float) -> None:
        self._aged.add(file_id)
        heapq.heappush(self._ageing, (at, file_id))

    def _note_old(self, now: float) -> None:
        wall = self._clock.time()
        for _ in range(_AT_ONCE):
            if not self._ageing or self._ageing[0][0] > wall:
                return
            _, file_id = heapq.heappop(self._ageing)
            self._aged.discard(file_id)
            at_end = self._open_files.stat_at_end(file_id)
            if file_id not in self._catalogue.files or at_end is None:
                continue  # it is noted when its end is read
            if (old_at := at_end[1] / 1e9 + _OLD) > wall:
                self._age(file_id, old_at)
            else:
                # What is unknown of its writers needs no more time: it has been quiet for a day.
                self._pending[file_id] = now - _OLD


def grows_no_more(quiet: float, *, written: bool | None) -> bool:
    """Whether a file that left and has not changed for `quiet` seconds is complete.

    `written` tells whether it is open for writing elsewhere; None if that is unknown.
    """
    return not written and quiet > (GRACE if written is False else _UNKNOWN_WRITER)


def _states(files: Sequence[Progress]) -> list[tuple[FileStat, bool | None] | None]:
    """Return each file as it is now, and whether it is open for writing; None if it is not at its path. Blocking."""
    local = dict[str, bool]()
    return [_state(known, local) for known in files]


def _state(known: Progress, local: dict[str, bool]) -> tuple[FileStat, bool | None] | None:
    folder = known.path.rpartition("/")[0]
    try:
        descriptor, _ = open_verified(known.path, known.inode, [])
    except (FileError, Replaced):
        return None
    try:
        if folder not in local:
            local[folder] = is_local(folder)
        # In this order: what was written before the writer closed the file is seen.
        written = has_writer(descriptor) if local[folder] else None
        return status_of(descriptor, known.path), written
    except FileError:
        return None
    finally:
        close(descriptor)
