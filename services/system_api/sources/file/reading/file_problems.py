"""The files of a source that cannot be read, while the other files are read."""

import logging
from collections.abc import Sequence

from services.system_api.sources.file.filesystem import FileStat, is_undecodable

logger = logging.getLogger(__name__)


class FileProblems:
    """What is wrong with which file: each problem is logged when it begins and when it is over."""

    def __init__(self, source: str) -> None:
        """`source` is the name of the source, for the log."""
        self._fields: dict[str, object] = {"component": "source", "source": source}
        self._errors: dict[tuple[int, int], str] = {}
        """By inode."""
        self._unusable: dict[tuple[int, int], FileStat] = {}
        self._undecodable: frozenset[str] = frozenset()

    @property
    def texts(self) -> list[str]:
        """All problems as text."""
        names = (f"{name}: not read: its name is not UTF-8; rename it" for name in self._undecodable)
        return [*self._errors.values(), *names]

    def note(self, file: FileStat, error: str, *, unusable: bool) -> None:
        """Note that a file cannot be read; an unusable one is not opened again until it changes."""
        if self._errors.get(file.inode) != error:
            logger.warning(
                "cannot read file; reading the other files", extra=self._fields | {"path": file.path, "error": error}
            )
        self._errors[file.inode] = error
        if unusable:
            self._unusable[file.inode] = file

    def clear(self, file: FileStat) -> None:
        """Note that a file can be read."""
        if self._errors.pop(file.inode, None) is not None:
            logger.info("file is readable again", extra=self._fields | {"path": file.path})
        self._unusable.pop(file.inode, None)

    def forget_missing(self, found: Sequence[FileStat]) -> None:
        """Forget the problems of files that no longer exist."""
        if not self._errors:
            return
        inodes = {file.inode for file in found}
        for inode in [inode for inode in self._errors if inode not in inodes]:
            logger.info("unreadable file is gone", extra=self._fields | {"error": self._errors.pop(inode)})
            self._unusable.pop(inode, None)

    def unusable(self, file: FileStat) -> bool:
        """Whether a file is known to be unusable and has not changed since."""
        return self._unusable.get(file.inode) == file

    def decodable(self, found: Sequence[FileStat]) -> list[FileStat]:
        """Return the files whose names are UTF-8, and note the problem with the others."""
        names = {repr(file.path.encode(errors="surrogateescape")) for file in found if is_undecodable(file.path)}
        for name in sorted(names - self._undecodable):
            logger.warning("file name is not UTF-8; file not read", extra=self._fields | {"path": name})
        self._undecodable = frozenset(names)
        return [file for file in found if not is_undecodable(file.path)] if names else list(found)
