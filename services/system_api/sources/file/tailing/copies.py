"""Copies of files that are read: rotation makes one before it truncates a file (`copytruncate`), people make backups.

A copy that `rotated` matches looks like a file that was created and rotated between two looks, and must not be read as
one: all of its lines were read, or will be. It is recognised by its contents, as long as the file that it was made of
is known. Once that file is truncated, what is left to read of it is read in the copy.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from services.system_api.sources.file.births import birth_of
from services.system_api.sources.file.filesystem import (
    FileError,
    FileStat,
    Inode,
    Replaced,
    close,
    open_verified,
    regular_file,
)
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.folders.neighbourhood import beginnings_of
from services.system_api.sources.file.reading.folder_view import yielding
from services.system_api.sources.file.reading.jobs import Jobs
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.progress import (
    SAMPLE,
    Progress,
    is_known,
    known_spans,
    number_of,
    passed_over,
)

_COMPARED = 65_536
"""Bytes of the beginning and of the end of a copy that are compared with the file that it was made of."""
_FEW = 20
"""Files that a copy is compared with whatever their names are."""


class Copies:
    """The copies that the last looks have found, of files in the setting `path`."""

    def __init__(self, glob: Glob, open_files: OpenFiles) -> None:
        """`glob` is that of the setting `path`."""
        self._glob = glob
        self._open_files = open_files
        self._catalogue = open_files.catalogue
        self._found: dict[Inode, tuple[FileStat, str]] = {}
        """The copies, each with the id of the file that it was made of."""
        self.searched = False
        """Whether all unknown files of the last look were compared."""
        self._indexed = 0
        """How many files the source had begun when the following was brought up to date; 0: not since a look."""
        self._here: list[str] = []
        """The ids of the files that are where they belong."""
        self._by_name: dict[str, set[str]] = defaultdict(set)
        """The same, by what their names are."""
        self._unread: Mapping[str, Sequence[FileStat]] | None = None
        """The files with something to read, by their names; all by "" where they are few; None as above."""

    def begin_look(self) -> None:
        """Note that the files may be others than before."""
        self._indexed, self._unread, self.searched = 0, None, False

    async def note(self, file: FileStat) -> bool:
        """Return whether an unknown file is a copy; it is remembered."""
        self._found.pop(file.inode, None)
        files = self._catalogue.files
        originals = {each: files[each] for each in await self._originals(file) if each in files}
        file_id = await self._open_files.disk.run(_original_of, file, originals) if originals else None
        if file_id is None:
            return False
        self._found[file.inode] = file, file_id
        return True

    async def is_of_unread(self, file: FileStat, jobs: Jobs) -> bool:
        """Return whether an unknown file is a copy of one that is still to be read, and is recognised behind that."""
        if self._unread is None:
            self._unread = self._to_be_read(jobs)
        found = self._unread.get("") or [each for name in _beginnings(file.path) for each in self._unread.get(name, ())]
        like = [each for each in found if each.inode in jobs]
        return bool(like) and await self._open_files.disk.run(_is_copy_of_any, file, like)

    def _to_be_read(self, jobs: Jobs) -> Mapping[str, Sequence[FileStat]]:
        """Return the files that are where they belong and have something to read, by what their names are."""
        files = [job.file for job in jobs.all() if not job.departed and self._glob.matches(job.file.path)]
        if len(files) <= _FEW:
            return {"": files}
        names = defaultdict[str, list[FileStat]](list)
        for file in files:
            for name in _names(_name(file.path)):
                names[name].append(file)
        return names

    def forget(self, inode: Inode) -> None:
        """Forget a file that has left."""
        self._found.pop(inode, None)

    def of(self, file_id: str) -> Sequence[FileStat]:
        """Return the copies of a file, the newest first."""
        copies = [file for file, original in self._found.values() if original == file_id]
        return sorted(copies, key=lambda file: file.mtime, reverse=True)

    def release(self, file_id: str) -> Sequence[FileStat]:
        """Forget the copies of a file that cannot be read on, and return them: they may have what is left of it."""
        copies = self.of(file_id)
        for copy in copies:
            del self._found[copy.inode]
        return copies

    async def leave_unread(self, file_id: str) -> None:
        """Leave the copies of a file unread that was rewritten, but for the one that it is read on in."""
        copies = self.release(file_id)
        unknown = [copy.path for copy in copies if self._catalogue.id_of(copy.inode) is None]
        now = await self._open_files.disk.run(lambda: [regular_file(path) for path in unknown])
        inodes = {copy.inode for copy in copies}
        self._open_files.pass_over([each for each in now if each is not None and each.inode in inodes], whole=False)

    async def _originals(self, file: FileStat) -> Collection[str]:
        """Return the ids of files that a file may be a copy of, by its name."""
        files = self._catalogue.files
        if not self._indexed:
            self._here, self._by_name = [], defaultdict(set)
            async for file_id in yielding(list(files)):
                self._index(file_id)
        else:
            for file_id in itertools.takewhile(lambda each: number_of(each) > self._indexed, reversed(files)):
                self._index(file_id)
        self._indexed = max(1, self._catalogue.count.files)
        if len(self._here) <= _FEW:
            return self._here
        return {each for name in _beginnings(file.path) for each in self._by_name.get(name, ())}

    def _index(self, file_id: str) -> None:
        known = self._catalogue.files[file_id]
        # Of a document, the fingerprint is another one.
        if file_id not in self._catalogue.missing and not known.size and self._glob.matches(known.path):
            self._here.append(file_id)
            for name in _names(_name(known.path)):
                self._by_name[name].add(file_id)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _names(name: str) -> set[str]:
    """Return what rotation may append something to."""
    return {name, name.rpartition(".")[0] or name}


def _beginnings(path: str) -> Sequence[str]:
    """Return what a file may have been called before rotation appended something."""
    return _name(path), *beginnings_of(_name(path))


def _is_copy_of_any(file: FileStat, originals: Sequence[FileStat]) -> bool:
    """Return whether a file is a copy of one of these. Blocking."""
    unread = {str(number): passed_over(each, "", whole=True) for number, each in enumerate(originals)}
    return _original_of(file, unread) is not None


def _original_of(file: FileStat, originals: Mapping[str, Progress]) -> str | None:
    """Return the id of the file that a file is a copy of. Blocking."""
    try:
        copy, _ = open_verified(file.path, file.inode, [])
    except (FileError, Replaced):
        return None
    names = set(_beginnings(file.path))
    try:
        for each, known in originals.items():
            named = not names.isdisjoint(_names(_name(known.path)))
            if _is_copy(copy, known, named=named):
                return each
    finally:
        close(copy)
    return None


def _is_copy(copy: int, known: Progress, *, named: bool) -> bool:
    """Whether an open file is a copy of a known one, be that as it was read or rewritten since."""
    try:
        original, _ = open_verified(known.path, known.inode, [])
    except (FileError, Replaced):
        return False
    try:
        if known.offset and not _agrees(original, known):
            return _agrees(copy, known)
        size = os.fstat(copy).st_size
        if not 0 < size <= os.fstat(original).st_size or not _is_beginning(copy, original, size):
            return False
        return size >= SAMPLE or (named and _is_younger(copy, original))
    except OSError:
        return False
    finally:
        close(original)


def _agrees(descriptor: int, known: Progress) -> bool:
    size = os.fstat(descriptor).st_size
    return size >= known.offset and is_known(known, size, [_read(descriptor, *span) for span in known_spans(known)])


def _is_beginning(copy: int, original: int, size: int) -> bool:
    """Whether a file of this size is what another one begins with, or all of it."""
    spans = (0, _COMPARED), (max(0, size - _COMPARED), min(size, _COMPARED))
    return all(_read(copy, offset, length) == _read(original, offset, min(length, size)) for offset, length in spans)


def _is_younger(copy: int, original: int) -> bool:
    """Whether a copy was created after the original.

    Of a short file, the contents tell little: one that was rotated by renaming may begin with the same line, and is
    older than its successor. Where the file system does not tell, it is no copy: lines come twice rather than never.
    """
    births = birth_of(copy), birth_of(original)
    return births[0] is not None and births[1] is not None and births[0] > births[1]


def _read(descriptor: int, offset: int, size: int) -> bytes:
    return os.pread(descriptor, size, offset)
