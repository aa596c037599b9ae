"""Watches files for a while after they were archived or deleted: what a writer adds then is read by nobody.

Blocking calls, for the thread that finalizes files.
"""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from services.system_api.sources.file.filesystem import FileError, close, status_of
from services.system_api.sources.source import Loss

_ARCHIVED_FOR = 3600.0
"""Seconds for which an archived file is watched."""
_DELETED_FOR = 300.0
"""Seconds for which a deleted file is watched. It stays open, and keeps its space on the disk."""
_ARCHIVED, _DELETED = 1000, 64
"""Maximum numbers of files that are watched."""


@dataclass(slots=True)
class _Watched:
    path: str
    done: tuple[int, int]
    """Size and modification time (ns) when it was read."""
    until: float
    target: Path | None = None
    descriptor: int | None = None


class Aftermath:
    """The files that were archived or deleted last. Times are of a monotonic clock."""

    def __init__(self) -> None:
        self._archived: deque[_Watched] = deque()
        self._deleted: deque[_Watched] = deque()

    def __bool__(self) -> bool:
        return bool(self._archived or self._deleted)

    def archived(self, path: str, done: tuple[int, int], target: Path, now: float) -> None:
        """Watch a file that was moved to `target`."""
        self._archived.append(_Watched(path, done, now + _ARCHIVED_FOR, target=target))
        if len(self._archived) > _ARCHIVED:
            self._archived.popleft()

    def deleted(self, path: str, done: tuple[int, int], descriptor: int, now: float) -> None:
        """Watch a file that was deleted, through its descriptor, which is closed here."""
        self._deleted.append(_Watched(path, done, now + _DELETED_FOR, descriptor=descriptor))
        if len(self._deleted) > _DELETED:
            self._forget(self._deleted.popleft())

    def check(self, now: float) -> list[Loss]:
        """Return what was added to files since they were archived or deleted; each file is in one loss."""
        losses = []
        for files in (self._archived, self._deleted):
            for watched in list(files):
                loss = _loss(watched)
                if loss is not None:
                    losses.append(loss)
                if loss is not None or now > watched.until:
                    files.remove(watched)
                    self._forget(watched)
        return losses

    def close(self) -> None:
        """Stop watching."""
        for watched in self._deleted:
            self._forget(watched)
        self._deleted.clear()

    def _forget(self, watched: _Watched) -> None:
        if watched.descriptor is not None:
            close(watched.descriptor)


def _loss(watched: _Watched) -> Loss | None:
    try:
        now = _now(watched)
    except (OSError, FileError):
        return None  # the archive was emptied, for example
    if now == watched.done:
        return None
    size, added = watched.done[0], max(0, now[0] - watched.done[0])
    if watched.target is None:
        text = f"changed after it was read and deleted: {added} bytes behind byte {size} are lost"
    else:
        text = f"changed after it was read and archived: {added} bytes behind byte {size} are only in {watched.target}"
    return Loss(f"{watched.path}: {text}", added)


def _now(watched: _Watched) -> tuple[int, int]:
    if watched.descriptor is not None:
        file = status_of(watched.descriptor, watched.path)
        return file.size, file.mtime
    assert watched.target is not None, "it is archived"
    status = watched.target.stat()
    return status.st_size, status.st_mtime_ns
