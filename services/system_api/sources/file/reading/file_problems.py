"""The files of a source that cannot be read, while the other files are read."""

import logging

from services.system_api.sources.file.filesystem import FileStat, Inode, is_undecodable

logger = logging.getLogger(__name__)

_SHOWN = 100
"""Problems that are named one by one."""


class FileProblems:
    """What is wrong with which file: each problem is logged when it begins and when it is over."""

    def __init__(self, source: str) -> None:
        """`source` is the name of the source, for the log."""
        self._fields: dict[str, object] = {"component": "source", "source": source}
        self._errors: dict[Inode, str] = {}
        self._unusable: dict[Inode, FileStat] = {}
        self._undecodable: dict[Inode, str] = {}

    @property
    def texts(self) -> list[str]:
        """All problems as text."""
        names = (f"{name}: not read: its name is not UTF-8; rename it" for name in self._undecodable.values())
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

    def forget(self, inode: Inode) -> None:
        """Forget the problems of a file that no longer exists."""
        self._undecodable.pop(inode, None)
        self._unusable.pop(inode, None)
        if (error := self._errors.pop(inode, None)) is not None:
            logger.info("unreadable file is gone", extra=self._fields | {"error": error})

    def is_unusable(self, inode: Inode) -> bool:
        """Whether a file was found to be unusable, and has not been readable since."""
        return inode in self._unusable

    def unusable(self, file: FileStat) -> bool:
        """Whether a file is known to be unusable and has not changed since."""
        return self._unusable.get(file.inode) == file

    @property
    def failed(self) -> list[Inode]:
        """Files that could not be read and may be readable later, though they do not change."""
        return [inode for inode in self._errors if inode not in self._unusable]

    def decodable(self, file: FileStat) -> bool:
        """Whether the name of a file is UTF-8; note the problem if it is not."""
        if not is_undecodable(file.path):
            self._undecodable.pop(file.inode, None)
            return True
        name = repr(file.path.encode(errors="surrogateescape"))
        if self._undecodable.get(file.inode) != name:
            logger.warning("file name is not UTF-8; file not read", extra=self._fields | {"path": name})
        self._undecodable[file.inode] = name
        return False


def shown(problems: list[str]) -> tuple[str, ...]:
    """Return problems in a stable order; of many, the first ones and how many more there are."""
    problems.sort()
    more = len(problems) - _SHOWN
    return tuple(problems) if more <= 0 else (*problems[:_SHOWN], f"and {more} more problems like these")
