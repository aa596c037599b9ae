"""Files that stay open although nothing of them is read now: a file that is deleted or moved can still be read.

The bound is the process's limit of open files (RLIMIT_NOFILE), which all sources share; a part of it is left for
connections and everything else. Where the limit binds, files that can still be found by their path are closed first.
"""

import asyncio
import os
import resource
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from services.system_api.sources.file.filesystem import FileStat, Inode, close, open_file, path_of, stat_of
from services.system_api.sources.file.writers import has_writer

_SHARE = 0.75
"""The part of the limit that files may use."""
_MORE_THAN_ENOUGH = 1_000_000
"""The limit of a process without one."""


_KEEP = 3600.0
"""Seconds for which files stay open after their source was closed. Their space on the disk is not free until then."""


class DescriptorBudget:
    """How many files may be held open, by all sources of the process."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit` is by default that of the process, whenever it is asked for."""
        self._limit = limit
        self._taken = 0

    @property
    def limit(self) -> int:
        """The maximum number of files."""
        if self._limit is not None:
            return self._limit
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return int((_MORE_THAN_ENOUGH if soft == resource.RLIM_INFINITY else soft) * _SHARE)

    def take(self) -> bool:
        """Take one if there is one."""
        if self._taken >= self.limit:
            return False
        self._taken += 1
        return True

    def give_back(self) -> None:
        """Give one back."""
        self._taken -= 1


PROCESS_BUDGET = DescriptorBudget()
"""That of this process."""


class _Held(NamedTuple):
    descriptor: int
    path: str


class HeldFile(NamedTuple):
    """The state of a held file."""

    file: FileStat
    """Its path is where it is now; the path it was opened by, if it is deleted."""
    deleted: bool
    """Whether it has no name left: its bytes exist only while it is open."""
    written: bool | None
    """Whether a deleted file is open for writing elsewhere; None if that is unknown, or it is not deleted."""


class HeldFiles:
    """Open files by inode, the least recently used first.

    While a file is open, no other file gets its inode. Methods may be called from the I/O thread and from the event
    loop: each changes the files with single operations of a dict.
    """

    def __init__(self, budget: DescriptorBudget) -> None:
        self.budget = budget
        self.unheld: set[Inode] = set()
        """Files that could not be held because of the limit."""
        self._files: dict[Inode, _Held] = {}
        self._pinned: set[Inode] = set()

    def __contains__(self, inode: Inode) -> bool:
        return inode in self._files

    def __len__(self) -> int:
        return len(self._files)

    @property
    def inodes(self) -> list[Inode]:
        """The inodes of all held files."""
        return list(self._files)

    def hold(self, files: Sequence[FileStat]) -> None:
        """Open files, and hold them, as far as the limit allows. Blocking. A file that cannot be opened is left out."""
        newest = files[-self.budget.limit :] if self.budget.limit else ()
        self.unheld.update(file.inode for file in files[: len(files) - len(newest)])
        for file in newest:
            if file.inode in self._files:
                continue
            if not self._make_room(close):
                self.unheld.add(file.inode)
                continue
            descriptor = open_file(file.path, file.inode)
            if descriptor is None:
                self.budget.give_back()
            else:
                self._add(file.inode, _Held(descriptor, file.path), close)

    def give(self, inode: Inode, path: str, descriptor: int, closing: Callable[[int], object]) -> None:
        """Hold a file that is open. At once: who opens the source again finds it.

        `closing` closes the descriptor of a file that is not held, because of the limit or because it is held already.
        """
        if inode in self._files:
            closing(descriptor)
        elif self._make_room(closing):
            self._add(inode, _Held(descriptor, path), closing)
        else:
            closing(descriptor)
            self.unheld.add(inode)

    def take(self, inode: Inode) -> int | None:
        """Return the descriptor of a held file, which is the caller's from now on."""
        held = self._files.pop(inode, None)
        if held is None:
            return None
        self._pinned.discard(inode)
        self.budget.give_back()
        return held.descriptor

    def release(self, inode: Inode) -> None:
        """Close a file; nothing of it is wanted any more. Blocking."""
        self._release(inode, close)

    def pin(self, inodes: Iterable[Inode]) -> None:
        """Keep these files open whatever the limit says of others: no path leads to them any more."""
        self._pinned = {inode for inode in inodes if inode in self._files}

    def states(self, inodes: Iterable[Inode]) -> dict[Inode, HeldFile]:
        """Return the states of those files that are held. Blocking."""
        found = {}
        for inode in inodes:
            if (held := self._files.get(inode)) is not None:
                found[inode] = state_of(held.descriptor, held.path, inode)
        return found

    def problems(self, read: Iterable[Inode]) -> list[str]:
        """Return as text how many files are not open because of the limit; `read` are those that are being read."""
        closed = len(self.unheld.difference(read))
        if not closed:
            return []
        text = (
            f"{closed} files are not held open, because the process may hold {self.budget.limit}: what is"
            " written to such a file right before it is deleted or moved away is lost; raise the limit of open files"
            " (RLIMIT_NOFILE, ulimit -n, LimitNOFILE)"
        )
        return [text]

    def release_all(self) -> None:
        """Close all files. Blocking."""
        for inode in self.inodes:
            self.release(inode)

    def _add(self, inode: Inode, held: _Held, closing: Callable[[int], object]) -> None:
        if self._files.setdefault(inode, held) is not held:  # another thread was faster
            closing(held.descriptor)
            self.budget.give_back()
        self.unheld.discard(inode)

    def _release(self, inode: Inode, closing: Callable[[int], object]) -> None:
        self.unheld.discard(inode)
        if (descriptor := self.take(inode)) is not None:
            closing(descriptor)

    def _make_room(self, closing: Callable[[int], object]) -> bool:
        if self.budget.take():
            return True
        oldest = next((inode for inode in self.inodes if inode not in self._pinned), None)
        if oldest is None:
            return False
        self._release(oldest, closing)
        self.unheld.add(oldest)
        return self.budget.take()


class Retained:
    """The held files of each source of this process. They stay open for a while when the source is closed.

    So a pause, a failed run or a lease that moves away and back loses nothing of a file that is deleted meanwhile.
    """

    def __init__(self, budget: DescriptorBudget) -> None:
        self._budget = budget
        self._held: dict[Hashable, HeldFiles] = {}
        self._users: Counter[Hashable] = Counter()
        self._expiring: dict[Hashable, asyncio.TimerHandle] = {}

    @contextmanager
    def of(self, source: Hashable) -> Iterator[HeldFiles]:
        """Open the held files of a source: those that it had when it was closed last. In an event loop."""
        held = self._held.setdefault(source, HeldFiles(self._budget))
        self._users[source] += 1
        if (timer := self._expiring.pop(source, None)) is not None:
            timer.cancel()
        try:
            yield held
        finally:
            self._users[source] -= 1
            if not self._users[source] and source in self._held:
                loop = asyncio.get_running_loop()
                self._expiring[source] = loop.call_later(_KEEP, self._release, source)

    def clear(self) -> None:
        """Close the files of all sources that are closed."""
        for source in list(self._expiring):
            self._release(source)

    def _release(self, source: Hashable) -> None:
        self._expiring.pop(source).cancel()
        del self._users[source]
        held = self._held.pop(source)
        if len(held):
            # Not on the event loop: a file server that is gone blocks.
            threading.Thread(target=held.release_all, name="closes held files", daemon=True).start()


RETAINED = Retained(PROCESS_BUDGET)
"""Those of this process."""


def state_of(descriptor: int, path: str, inode: Inode) -> HeldFile:
    """Return the state of an open file that was opened by this path. Blocking."""
    try:
        status = os.fstat(descriptor)
    except OSError:  # deleted on a file server, for example
        return HeldFile(FileStat(path, *inode, 0, 0), deleted=True, written=None)
    if not status.st_nlink:
        return HeldFile(stat_of(path, status), deleted=True, written=has_writer(descriptor))
    return HeldFile(stat_of(path_of(descriptor, path), status), deleted=False, written=None)
