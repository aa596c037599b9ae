"""Keeps track of the files of a source: looks on the I/O thread, at the interval and when the watcher names a path.

New files are opened at once, also while the source waits for its bus: a file that is deleted right after it was written
can still be read.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import TypeVar

from services.system_api.sources.file.filesystem import Inode, is_unmounted
from services.system_api.sources.file.folders.listing import SMALL, Changes, Listing
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.progress import Progress
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_SLICE = 500
"""Files after which other tasks run: a hundred thousand at once would hold up the event loop."""

T = TypeVar("T")


async def yielding(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield items, and let other tasks run now and then."""
    for number, item in enumerate(items, 1):
        yield item
        if number % _SLICE == 0:
            await asyncio.sleep(0)


class FolderView:
    """What changed in the folders of a source."""

    def __init__(self, listing: Listing, disk: Disk, interval: float, clock: Clock, *, hold: bool) -> None:
        """`interval` is in seconds; `hold` tells whether new files are opened at once."""
        self._listing = listing
        self._disk = disk
        self._interval = interval
        self._clock = clock
        self._hold = hold
        self._looking = asyncio.Lock()
        self._changes: list[Changes] = []
        """What was found and not taken yet."""
        self._looked_at: float | None = None
        """When a look was due last, by the monotonic clock."""

    @property
    def due(self) -> bool:
        """Whether a look is due, or has found something."""
        return bool(self._changes) or self._interval_is_over()

    @property
    def thorough(self) -> bool:
        """Whether the next look sees more than what was named."""
        return len(self._listing.inodes) <= SMALL or self._interval_is_over()

    @property
    def sees_all(self) -> bool:
        """Whether each look sees everything: there are few files."""
        return len(self._listing.inodes) <= SMALL

    @property
    def inodes(self) -> Collection[Inode]:
        """The inodes of all files that the last look found."""
        return self._listing.inodes

    @property
    def unreadable(self) -> Collection[str]:
        """Of each folder that could not be read, a text for people."""
        return self._listing.unreadable.values()

    async def check_mounted(self, known: Iterable[Progress]) -> None:
        """Check that files which were read are not gone together with their disk; after a look.

        An empty mount point looks like a folder whose files were deleted. They come back with their disk.

        Raises:
            Unavailable: there is no file, and all of them were on another file system.
        """
        if self.inodes:
            return
        expected = [each for each in known if not each.ended]
        away = await self._disk.run(lambda: all(is_unmounted(each.path, each.inode) for each in expected))
        if expected and away:
            raise Unavailable(
                f"folder {self._listing.folder}: it is empty, and {len(expected)} files that were read in it were on"
                " another file system; expected that to be mounted"
            )

    async def look(self) -> list[Changes]:
        """Look if that is due, and return all changes since the last call, in their order.

        Raises:
            Unavailable: the folder does not exist or cannot be read.
        """
        now = self._clock.monotonic()
        elapsed = self._interval if self._looked_at is None else self._elapsed()
        if elapsed >= self._interval:
            await self._look({}, elapsed)
            self._looked_at = now
        else:
            await self._look({}, 0.0)
        taken, self._changes = self._changes, []
        return taken

    async def note_paths(self, paths: Mapping[str, bool]) -> None:
        """Look at paths that have changed; the values tell which are new."""
        if self._looked_at is not None:
            await self._look(paths, 0.0)

    def _interval_is_over(self) -> bool:
        return self._looked_at is None or self._elapsed() >= self._interval

    def _elapsed(self) -> float:
        return self._clock.monotonic() - (self._looked_at or 0.0)

    async def _look(self, paths: Mapping[str, bool], elapsed: float) -> None:
        async with self._looking:
            changes = await self._disk.run(self._look_and_hold, paths, elapsed, self._clock.time())
            if any(changes):
                self._changes.append(changes)

    def _look_and_hold(self, paths: Mapping[str, bool], elapsed: float, now: float) -> Changes:
        changes = self._listing.look(paths, elapsed, now)
        if self._hold:
            self._disk.held.hold(changes.changed)
        return changes
