"""The files of a remote source: which were read, and which of those that a listing shows are to be read. No I/O."""

import itertools
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from services.system_api.sources.file.reading.begun import Begun
from services.system_api.sources.file.reading.progress import Count, load_parts, new_file_id, number_of
from services.system_api.sources.file.start import Start


class RemoteFile(NamedTuple):
    """A file as a listing shows it."""

    path: str
    size: int
    mtime: int
    """Nanoseconds; 0 if unknown."""
    version: str
    """Differs when the contents differ: of the ETag, the modification time and the size, those that are known."""


class RemoteProgress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A position in one file: one part of the source's checkpoint."""

    path: str
    version: str
    size: int
    mtime: int = 0
    part: int = 0
    """The number of the part that is read, such as a file in an archive."""
    position: int = 0
    """The number of the next record in the part, or the offset in its content."""
    line: int = 0
    rows: int = 0
    rejects: int = 0
    truncated: bool = False
    """Whether some of its bytes are in no event and in no dead letter."""
    done: bool = False
    """Whether everything in it was read."""
    passed_over: bool = False
    """Whether it was there when the source was started first, and is not read."""


def load(checkpoint: Mapping[str, bytes]) -> tuple[Count, dict[str, RemoteProgress]]:
    """Read a checkpoint.

    Raises:
        SettingsError: it is not that of a source of remote files.
    """
    return load_parts(checkpoint, RemoteProgress, "a source of remote files", "path")


class Ledger:
    """The known files by id, and what of them is to be saved. Times are of a monotonic clock."""

    def __init__(
        self, saved: tuple[Count, dict[str, RemoteProgress]], start: Start, *, stable: float, keep: float
    ) -> None:
        """`stable` is for how many seconds a file must not have changed, `keep` for how many a missing one is known."""
        count, files = saved
        self.count = count
        self.files = files
        self.changed: list[tuple[RemoteProgress, RemoteFile]] = []
        """Files that changed after they were read, since this was cleared last."""
        self.forgotten: list[str] = []
        """Ids of files that were forgotten, since this was cleared last."""
        self.unstable: dict[str, tuple[str, float]] = {}
        """Paths that are not complete, each with its version and since when it has it."""
        self.missing: dict[str, float] = {}
        """Ids of files that the last listing did not show, each since when."""
        self._start = start
        self._stable = stable
        self._keep = keep
        self._moved: dict[str, bytes | None] = {}
        self.begun = Begun()
        self._ids = {progress.path: file_id for file_id, progress in files.items()}

    def note(self, file: RemoteFile, ready: Mapping[str, bool], now: float) -> str | None:
        """Compare a file of a listing with what is known; return its id if it is to be read.

        `ready` tells of paths whether something else marks them as complete; it is missing where nothing does.
        """
        if self._start.applies and not self.count.started:
            self._pass_over(file, ready)
        file_id = self._ids.get(file.path)
        if file_id is not None and self.files[file_id].version != file.version:
            self.changed.append((self.files[file_id], file))
            self.forget(file_id)
            file_id = None
        if file_id is None and self._is_complete(file, ready, now):
            file_id = self._add(file)
        if file_id is None:
            return None
        self.missing.pop(file_id, None)
        return None if self.files[file_id].done else file_id

    def end_listing(self, paths: AbstractSet[str], now: float) -> None:
        """Note that each file of a listing was compared: those have these paths."""
        if self._start.applies and not self.count.started:
            self.count = msgspec.structs.replace(self.count, started=True)
            self._moved[""] = msgspec.json.encode(self.count)
        self._note_missing(paths, now)

    def next_complete(self, now: float) -> float | None:
        """Return when the next file that was listed may have been unchanged for long enough; None if none will be."""
        due = (since + self._stable for _, since in self.unstable.values())
        return min((time for time in due if time > now), default=None)

    def update(self, file_id: str, progress: RemoteProgress) -> bytes:
        """Replace the progress of a file; return the part of the checkpoint."""
        self.files[file_id] = progress
        self._moved[file_id] = part = msgspec.json.encode(progress)
        return part

    def forget(self, file_id: str) -> None:
        """Forget a file."""
        known = self.files.pop(file_id)
        del self._ids[known.path]
        self.missing.pop(file_id, None)
        self.forgotten.append(file_id)
        self._moved[file_id] = None

    def take_checkpoint(self) -> dict[str, bytes | None]:
        """Return the parts that moved since the last call; None removes a part."""
        moved, self._moved = self._moved, {}
        return moved

    def _is_complete(self, file: RemoteFile, ready: Mapping[str, bool], now: float) -> bool:
        version, since = self.unstable.get(file.path, ("", now))
        if version != file.version:
            since = now
        if ready.get(file.path, True) and now - since >= self._stable:
            self.unstable.pop(file.path, None)
            return True
        self.unstable[file.path] = (file.version, since)
        return False

    def _add(self, file: RemoteFile, *, passed_over: bool = False) -> str:
        file_id = new_file_id(self.count.files + 1, (0, 0), f"{file.path} {file.version}".encode())
        self.count = msgspec.structs.replace(self.count, files=self.count.files + 1)
        self._moved[""] = msgspec.json.encode(self.count)
        self._ids[file.path] = file_id
        self.update(
            file_id,
            RemoteProgress(
                path=file.path,
                version=file.version,
                size=file.size,
                mtime=file.mtime,
                done=passed_over,
                passed_over=passed_over,
            ),
        )
        self.begun.add({"": msgspec.json.encode(self.count), file_id: msgspec.json.encode(self.files[file_id])})
        return file_id

    def _pass_over(self, file: RemoteFile, ready: Mapping[str, bool]) -> None:
        if file.path not in self._ids and ready.get(file.path, True) and self._start.excludes(file.mtime):
            self._add(file, passed_over=True)

    def _note_missing(self, listed: AbstractSet[str], now: float) -> None:
        for path in self.unstable.keys() - listed:
            del self.unstable[path]
        for path in self._ids.keys() - listed:
            self.missing.setdefault(self._ids[path], now)
        # They are in the order of their times.
        expired = list(itertools.takewhile(lambda each: now - self.missing[each] > self._keep, self.missing))
        for file_id in sorted(expired, key=number_of):
            self.forget(file_id)
