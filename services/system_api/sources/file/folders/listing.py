"""What changed in the folders of a source since the last look. Blocking, for the I/O thread.

    names   which files there are: when the time of a folder has changed, else now and then
    state   the size and time of each file: of a few thousand at each look, so that a large folder takes several looks
    paths   those that the watcher has named, at once

A look costs what has changed, not what there is: a folder of a hundred thousand files must not cost a core.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from services.system_api.sources.file.filesystem import FileStat, Inode, is_undecodable, regular_file
from services.system_api.sources.file.folders.globbing import Glob
from shared.errors import Unavailable

SMALL = 200
"""Up to that many files, every look sees everything."""
_FEW = 2000
"""Up to that many files, every look at the interval sees everything; of more, it checks at least as many."""
_STATES_PER_SECOND = 10_000
"""Files whose state is checked a second: about 4 % of a core."""
_NAMES_PER_SECOND = 50_000
"""Names that are read a second while names change: about 4 % of a core."""
_UNCHANGED = 10
"""How much more rarely names are read while the times of folders do not change: some file systems do not set them."""
_HOT = 500
"""Files that changed last: each look checks them."""
_LATE = 10.0
"""Seconds by which the name of a path may be late."""
_DIGITS = 3
"""Of the number of a rotated file; a longer one is a date."""
_OF_ROOT = "/lost+found"
"""A folder at the top of a disk that only root may read, and that nobody writes files to."""
_COARSE = 2_000_000_000
"""Nanoseconds within which a second change of a folder may leave its time as it is."""


class Changes(NamedTuple):
    """What a look found."""

    changed: Sequence[FileStat]
    """Files that are new, or have another path, size, time or inode; oldest first, each inode once."""
    gone: Collection[Inode]
    """Inodes that no path leads to any more."""
    vanished: Sequence[str]
    """Paths that were named, where no look has ever found a file."""


class Listing:
    """The files of some globs, as the last look found them."""

    def __init__(
        self, globs: Sequence[Glob], skip: Callable[[str], bool] = lambda _path: False, *, rotated: bool = False
    ) -> None:
        """`skip` names files that do not belong to the source although they match.

        `rotated` tells whether rotation makes files of others: of several that were written in the same moment, those
        come first that are outside the first glob, and those with a higher number at the end.
        """
        self._rotated = rotated
        self._globs = globs
        self._skip = skip
        self._files: dict[str, FileStat] = {}
        self._names: dict[Inode, int] = {}
        """How many paths lead to each inode."""
        self._folders: dict[str, int] = {}
        """The folders that were read, each with its time in ns; 0 if it may change again without a new time."""
        self._named_for = 0.0
        """Seconds since the names were read."""
        self._cursor: list[str] = []
        """Paths whose state is still to be checked in this round, in reverse order."""
        self._hot: OrderedDict[str, None] = OrderedDict()
        self._changed: dict[Inode, FileStat] = {}
        self._gone: set[Inode] = set()
        self.unreadable: Mapping[str, str] = {}
        """Folders that could not be read when the names were read last, each with a text for people."""
        self._removed: dict[str, float] = {}
        """Paths that were left lately, each when."""
        self._now = 0.0
        self._looked = False

    @property
    def folder(self) -> str:
        """The folder of the first glob."""
        return self._globs[0].folder

    @property
    def inodes(self) -> Collection[Inode]:
        """The inodes of all files."""
        return self._names.keys()

    def look(self, paths: Mapping[str, bool], elapsed: float, now: float) -> Changes:
        """Look at these paths, and at as much else as is due `elapsed` seconds after the last such look.

        The values of `paths` tell which are new. With 0 seconds, only the paths are due. `now` is the wall-clock time.
        The first look sees everything.

        Raises:
            Unavailable: the folder of the first glob does not exist or cannot be read.
        """
        self._check_folder()
        self._changed, self._gone = {}, set()
        self._forget_removed(now)
        vanished = [path for path, new in paths.items() if not self._look_at(path) and new]
        self._named_for += elapsed
        if self._names_due(elapsed):
            self._read_names(now, few=_FEW if elapsed else SMALL)
        if elapsed and len(self._files) > _FEW:
            self._check_states(max(_FEW, int(_STATES_PER_SECOND * elapsed)))
        self._looked = True
        changed = sorted(self._changed.values(), key=self._age)
        return Changes(changed, self._gone - self._names.keys(), self._unexplained(vanished))

    def _age(self, file: FileStat) -> tuple[int, bool, int, str]:
        """Return what is less for an older file."""
        if not self._rotated:
            return file.mtime, False, 0, file.path
        number = file.path.rpartition(".")[2]
        rotations = int(number) if number.isdecimal() and len(number) <= _DIGITS else 0
        return file.mtime, self._globs[0].matches(file.path), -rotations, file.path

    def _check_folder(self) -> None:
        folder = self.folder
        try:
            os.scandir(folder).close()
        except (FileNotFoundError, NotADirectoryError) as exc:
            if not self._files:
                raise Unavailable(f"folder {folder}: {exc.strerror}") from exc
            self._looked = False  # its files are gone: say so first
        except OSError as exc:
            raise Unavailable(f"folder {folder}: {exc.strerror}") from exc

    def _look_at(self, path: str) -> bool:
        """Look at a path that was named; return whether there is something, or was at an earlier look."""
        if not any(each.matches(path) for each in self._globs) or self._skip(path):
            if path in self._folders or os.path.isdir(path):  # noqa: PTH112 -- of ten thousand paths
                self._looked = False  # a folder came or went, with files in it
            return True
        known = path in self._files or path in self._removed
        self._examine(path)
        return known or os.path.lexists(path)

    def _forget_removed(self, now: float) -> None:
        for path in [path for path, at in self._removed.items() if abs(now - at) > _LATE]:
            del self._removed[path]
        self._now = now

    def _unexplained(self, vanished: Sequence[str]) -> Sequence[str]:
        """Return the vanished paths in folders without a new file: otherwise the file was perhaps renamed to that."""
        if not vanished:
            return ()
        new = {os.path.dirname(file.path) for file in self._changed.values()}  # noqa: PTH120
        return [path for path in vanished if os.path.dirname(path) not in new]  # noqa: PTH120

    def _names_due(self, elapsed: float) -> bool:
        count = len(self._files)
        if not self._looked or count <= SMALL or (elapsed and count <= _FEW):
            return True
        if not elapsed:
            return False
        if self._named_for * _NAMES_PER_SECOND < count:
            return False
        if self._named_for * _NAMES_PER_SECOND >= count * _UNCHANGED:
            return True
        return any(time != _time_of(folder) for folder, time in self._folders.items())

    def _read_names(self, now: float, few: int) -> None:
        """Find files that came or went; of a few files, check the state of each too."""
        self._named_for = 0.0
        settled = int(now * 1e9) - _COARSE
        found, self._folders = dict[str, None](), {}
        unreadable = dict[str, str]()

        def on_error(folder: str, error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError) and not folder.endswith(_OF_ROOT):
                name = repr(os.fsencode(folder)) if is_undecodable(folder) else folder
                unreadable[folder] = f"{name}: folder not read: {error.strerror}"

        for each in self._globs:
            for folder in each.folders(on_error):
                time = _time_of(folder)
                self._folders[folder] = time if time < settled else 0
                try:
                    found.update((path, None) for path in each.files(folder) if not self._skip(path))
                except OSError as exc:
                    on_error(folder, exc)
        self.unreadable = unreadable
        for path in self._files.keys() - found.keys():
            self._remove(path)
        for path in found if len(found) <= few else found.keys() - self._files.keys():
            self._examine(path)

    def _check_states(self, count: int) -> None:
        for path in list(self._hot):
            self._examine(path)
        if not self._cursor:
            self._cursor = list(self._files)
        for path in self._cursor[-count:]:
            self._examine(path)
        del self._cursor[-count:]

    def _examine(self, path: str) -> None:
        before, file = self._files.get(path), regular_file(path)
        if file is None:
            self._remove(path)  # deleted meanwhile, or a broken link
            return
        if before == file:
            return
        if before is None or before.inode != file.inode:
            self._remove(path)
            self._names[file.inode] = self._names.get(file.inode, 0) + 1
        self._files[path] = file
        other = self._changed.get(file.inode)
        if other is None or other.path >= path:  # of several hard links always the same
            self._changed[file.inode] = file
        self._note_hot(path)

    def _note_hot(self, path: str) -> None:
        if self._looked:
            self._hot[path] = None
            self._hot.move_to_end(path)
            for oldest in list(islice(self._hot, max(0, len(self._hot) - _HOT))):
                del self._hot[oldest]

    def _remove(self, path: str) -> None:
        file = self._files.pop(path, None)
        if file is None:
            return
        self._hot.pop(path, None)
        self._removed[path] = self._now
        if (left := self._names[file.inode] - 1) > 0:
            self._names[file.inode] = left
            return
        del self._names[file.inode]
        self._gone.add(file.inode)
        self._changed.pop(file.inode, None)


def _time_of(folder: str) -> int:
    """Return the modification time of a folder in ns; 0 if it cannot be read."""
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0
