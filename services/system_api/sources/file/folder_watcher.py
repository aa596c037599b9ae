"""Notifies of changes in a folder before the next poll is due. It may miss a change, which the poll then finds."""

import asyncio
import fnmatch
import logging
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from watchfiles import Change, awatch

from services.system_api.sources.file.filesystem import folder_of, literal
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


class FolderWatcher:
    """Watches the folder of a glob."""

    def __init__(self, source: str, pattern: str, clock: Clock, *, suffix: str = "") -> None:
        """`source` is the name of the source, for the log; file names with `suffix` appended match the glob too."""
        self._fields: dict[str, object] = {"component": "source", "source": source}
        self._names = re.compile("|".join(fnmatch.translate(Path(pattern).name + end) for end in ("", suffix)))
        self._folder = folder_of(pattern)
        self._recursive = literal(str(Path(pattern).parent)) != self._folder
        self._clock = clock
        self._changed = asyncio.Event()

    async def wait_for_change(self) -> None:
        """Return when something may have changed since the last return."""
        await self._changed.wait()
        self._changed.clear()

    def _matches(self, change: Change, path: str) -> bool:
        return self._is_folder_deleted(change, path) or self._names.fullmatch(Path(path).name) is not None

    def _is_folder_deleted(self, change: Change, path: str) -> bool:
        """Whether the folder itself was deleted: its watcher does not see a folder that replaces it."""
        return change is Change.deleted and path == self._folder

    async def run(self) -> None:
        """Watch the folder until cancelled; while it cannot be watched, the source only polls."""
        # Its own log lines, one a change, would fill the log, and trigger another change if the log is in the folder.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        failed_at: float | None = None
        fields = self._fields | {"path": self._folder}
        while True:
            pause = _PAUSE
            try:
                async for _ in self._changes():
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

    async def _changes(self) -> AsyncIterator[None]:
        """Yield at each change, until the folder is deleted."""
        watching = awatch(
            self._folder, watch_filter=self._matches, step=_STEP, debounce=_DEBOUNCE, recursive=self._recursive
        )
        async with aclosing(watching):
            async for changes in watching:
                yield
                if any(self._is_folder_deleted(change, path) for change, path in changes):
                    return
