"""Decides when a dropped file has been unchanged for long enough to be complete. No I/O."""

from services.system_api.sources.file.filesystem import FileStat, Inode


class Stability:
    """The files that are not taken yet, each since when it has not changed.

    The age is measured by this process: the clock of a file server may differ from the local one.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long nothing may have changed."""
        self._seconds = seconds
        self._seen: dict[Inode, tuple[FileStat, float]] = {}

    def note(self, file: FileStat, now: float) -> None:
        """Note a file that is new or has changed; `now` is of a monotonic clock."""
        before = self._seen.get(file.inode)
        if before is None or before[0] != file:
            self._seen[file.inode] = (file, now)

    def forget(self, inode: Inode) -> None:
        """Forget a file that was taken, or is gone."""
        self._seen.pop(inode, None)

    def ready(self, now: float) -> list[FileStat]:
        """Return the files that have not changed for long enough, oldest first."""
        ready = [file for file, since in self._seen.values() if now - since >= self._seconds]
        return sorted(ready, key=lambda file: (file.mtime, file.path))

    def age(self, inode: Inode, now: float) -> float:
        """Return for how many seconds a file has not changed; 0 for an unknown one."""
        return now - self._seen[inode][1] if inode in self._seen else 0.0

    def unready(self, now: float) -> list[FileStat]:
        """Return the other files."""
        return [file for file, since in self._seen.values() if now - since < self._seconds]
