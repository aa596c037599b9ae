"""Decides when a dropped file has been unchanged for long enough to be complete. No I/O."""

from collections.abc import Sequence

from services.system_api.sources.file.filesystem import FileStat


class Stability:
    """Compares sizes and modification times of files from listing to listing.

    The age is measured by this process: the clock of a file server may differ from the local one.
    """

    def __init__(self, seconds: float) -> None:
        """`seconds` is how long nothing may have changed."""
        self._seconds = seconds
        self._seen: dict[tuple[int, int], tuple[FileStat, float]] = {}

    def ready(self, found: Sequence[FileStat], now: float) -> list[FileStat]:
        """Return the files that have not changed for long enough; `now` is of a monotonic clock."""
        seen = {}
        for file in found:
            before = self._seen.get(file.inode)
            unchanged = before is not None and before[0] == file
            seen[file.inode] = (file, before[1] if before is not None and unchanged else now)
        self._seen = seen
        return [file for file in found if now - seen[file.inode][1] >= self._seconds]
