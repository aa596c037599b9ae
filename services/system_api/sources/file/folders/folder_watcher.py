"""Notifies of changes in folders before the next poll is due. It may miss a change, which the poll then finds."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from watchfiles import Change, awatch

from services.system_api.sources.file.folders.globbing import Glob
from shared.errors import Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_STEP = 25
"""Milliseconds between checks of the watcher: the maximum delay of a notification, and the cost of an idle source."""
_DEBOUNCE = 100
"""Milliseconds after which changes are reported while more are coming."""
_PAUSE = 30.0
"""Seconds before a watcher that failed is started again."""
_DELETED_PAUSE = 1.0
"""Seconds before a folder that was deleted is watched again."""


OnPaths = Callable[[Mapping[str, bool]], Awaitable[None]]
"""Called with the paths that have changed, and whether each is new. A path with the suffix is passed without it."""


class FolderWatcher:
    """Watches the folders of some globs."""

    def __init__(self, source: str, globs: Sequence[Glob], clock: Clock, *, suffix: str = "") -> None:
        """`source` is the name of the source, for the log; file names with `suffix` appended match the globs too."""
        self._fields: dict[str, object] = {"component": "source", "source": source}
        self._globs = globs
        self._suffix = suffix
        self._folder = globs[0].folder
        self._recursive = any(each.recursive for each in globs)
        self._clock = clock
        self._changed = asyncio.Event()

    async def wait_for_change(self) -> None:
        """Return when something may have changed since the last return."""
        await self._changed.wait()
        self._changed.clear()

    def _matches(self, change: Change, path: str) -> bool:
        name = self._named(path.rpartition("/")[2])  # of ten thousand paths, a Path for each costs more than the rest
        # A new folder may have files in it already.
        may_be_folder = self._recursive and change is not Change.modified
        return (
            self._is_folder_deleted(change, path)
            or may_be_folder
            or any(each.matches_name(name) for each in self._globs)
        )

    def _named(self, path: str) -> str:
        return path.removesuffix(self._suffix) if self._suffix else path

    def _is_folder_deleted(self, change: Change, path: str) -> bool:
        """Whether the folder itself was deleted: its watcher does not see a folder that replaces it."""
        return change is Change.deleted and path == self._folder

    async def run(self, on_paths: OnPaths) -> None:
        """Watch the folders until cancelled; while they cannot be watched, the source only polls."""
        # Its own log lines, one a change, would fill the log, and trigger another change if the log is in the folder.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        failed_at: float | None = None
        fields = self._fields | {"path": self._folder}
        while True:
            pause = _PAUSE
            try:
                async for paths in self._changes():
                    with suppress(Unavailable):  # the poll reports it
                        await on_paths(paths)
                    if failed_at is not None:
                        after = round(self._clock.monotonic() - failed_at, 1)
                        logger.info("watching folder again", extra=fields | {"after_s": after})
                        failed_at = None
                    self._changed.set()
                pause = _DELETED_PAUSE
            except (OSError, RuntimeError, ExceptionGroup) as exc:
                # No such folder, no inotify watches left, a file system without notifications, a name not in UTF-8.
                if failed_at is None:
                    logger.warning("cannot watch folder; polling it", extra=fields | {"error": str(exc)})
                    failed_at = self._clock.monotonic()
            await self._clock.sleep(pause)

    async def _changes(self) -> AsyncIterator[dict[str, bool]]:
        """Yield the paths that have changed, until the folder is deleted."""
        others = {each.folder for each in self._globs} - {self._folder}
        folders = [self._folder, *(await asyncio.to_thread(_existing, others) if others else ())]
        watching = awatch(
            *folders, watch_filter=self._matches, step=_STEP, debounce=_DEBOUNCE, recursive=self._recursive
        )
        async with aclosing(watching):
            async for changes in watching:
                paths = dict.fromkeys((self._named(path) for _, path in changes), False)
                yield paths | {path: True for change, path in changes if change is Change.added and path in paths}
                if any(self._is_folder_deleted(change, path) for change, path in changes):
                    return


def _existing(folders: Iterable[str]) -> list[str]:
    return [folder for folder in folders if Path(folder).is_dir()]
