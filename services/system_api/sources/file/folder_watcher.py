"""A sign that something has changed in a folder, sooner than the next look would tell. Never more than a hint."""

import asyncio
import fnmatch
import logging
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from watchfiles import Change, awatch

from services.system_api.sources.file.filesystem import folder_of
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_STEP = 25
"""Milliseconds between the looks of the watcher: what a change waits at most, and what an idle source costs."""
_DEBOUNCE = 100
"""Milliseconds after which changes are told even while more come."""
_PAUSE = 30.0
"""Seconds before a watcher that failed is tried again."""
_ANOTHER = 1.0
"""Seconds before the folder is looked for that takes the place of one that has gone."""


class FolderWatcher:
    """Watches the folder of a glob."""

    def __init__(self, name: str, pattern: str, clock: Clock, *, suffix: str = "") -> None:
        """`name` is the source's, for the log; files of the glob are looked for with `suffix` added as well."""
        self._name = name
        self._names = re.compile("|".join(fnmatch.translate(Path(pattern).name + end) for end in ("", suffix)))
        self._folder = folder_of(pattern)
        self._recursive = str(Path(pattern).parent) != self._folder
        self._clock = clock
        self._changed = asyncio.Event()

    async def wait_for_change(self) -> None:
        """Return when something may have changed since the last time this returned."""
        await self._changed.wait()
        self._changed.clear()

    def _concerns(self, change: Change, path: str) -> bool:
        return self._is_end(change, path) or self._names.fullmatch(Path(path).name) is not None

    def _is_end(self, change: Change, path: str) -> bool:
        """Whether the folder itself has gone: its watcher never hears of the one that takes its place."""
        return change is Change.deleted and path == self._folder

    async def run(self) -> None:
        """Watch for ever; where that does not work, the interval has to do."""
        # Its own lines, one for each change, would fill the log; and wake us again where that lies in the folder.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        told = False
        while True:
            pause = _PAUSE
            try:
                async for _ in self._changes():
                    told = False
                    self._changed.set()
                pause = _ANOTHER
            except (OSError, RuntimeError, ExceptionGroup) as exc:
                # No folder yet, no more inotify watches, a kind of disk that tells nothing, a name that is no UTF-8.
                if not told:
                    logger.warning("source %s: %s is not watched, only looked at: %s", self._name, self._folder, exc)
                told = True
            await self._clock.sleep(pause)

    async def _changes(self) -> AsyncIterator[None]:
        """Tell of each change, until the folder has gone."""
        watching = awatch(
            self._folder, watch_filter=self._concerns, step=_STEP, debounce=_DEBOUNCE, recursive=self._recursive
        )
        async with aclosing(watching):
            async for changes in watching:
                yield
                if any(self._is_end(change, path) for change, path in changes):
                    return
