"""Globs: which files a pattern names. Each folder is visited once.

Python's `glob` follows symbolic links to folders without checking for cycles: two links to a parent folder are enough
for a listing that does not end in practice.
"""

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_ANY_FOLDERS = "**"
OnError = Callable[[str, OSError], object]
"""Is called with a folder that cannot be read, and why."""
_ESCAPED = re.compile(r"\[([*?[])\]")
"""A character that `glob.escape` has escaped."""


def has_wildcard(part: str) -> bool:
    """Whether a part of a path has a wildcard that is not escaped."""
    return glob.has_magic(_ESCAPED.sub("", part))


def unescaped(part: str) -> str:
    """Return the name that a part without wildcards stands for."""
    return _ESCAPED.sub(r"\1", part)


class Glob:
    """A path whose parts may have the wildcards `*`, `?` and `[…]`, or be `**` for any folders.

    As in a shell, a wildcard does not match a dot at the beginning of a name.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        *folders, name = Path(pattern).parts
        if name == _ANY_FOLDERS:
            folders, name = [*folders, name], "*"
        fixed = next((at for at, part in enumerate(folders) if has_wildcard(part)), len(folders))
        self.folder = str(Path(*map(unescaped, folders[:fixed])))
        """The deepest folder without a wildcard; it must exist."""
        self._below = tuple(_Part(part) for part in folders[fixed:])
        self._name = _Part(name)

    @property
    def path(self) -> str:
        """The pattern for people: without wildcards, the path that it stands for."""
        return self.pattern if self.has_wildcards else str(Path(self.folder) / (self._name.literal or ""))

    @property
    def has_wildcards(self) -> bool:
        """Whether the pattern can match more than one file."""
        return bool(self._below) or self._name.literal is None

    @property
    def recursive(self) -> bool:
        """Whether files below `folder` can match, not only files in it."""
        return bool(self._below)

    def folders_are(self, folder: str) -> bool:
        """Whether files can match in this folder only."""
        return not self._below and self.folder == folder

    def matches(self, path: str) -> bool:
        """Whether a path matches, as text."""
        above = self.folder if self.folder.endswith("/") else self.folder + "/"
        if self.folder == ".":
            above = ""
        if not path.startswith(above):
            return False
        *folders, name = path[len(above) :].split("/")
        return self._name.matches(name) and _match(folders, self._below)

    def matches_name(self, name: str) -> bool:
        """Whether the name of a file matches, whatever its folder."""
        return self._name.matches(name)

    def folders(self, on_error: OnError = lambda _folder, _error: None) -> Iterator[str]:
        """Yield the existing folders in which files can match. Blocking."""
        seen = set[str]()
        for folder in _descend(self.folder, self._below, on_error):
            if folder not in seen:
                seen.add(folder)
                yield folder

    def files(self, folder: str) -> Iterator[str]:
        """Yield the paths in a folder whose names match; whether they are files is not checked. Blocking.

        Raises:
            OSError: the folder cannot be read.
        """
        prefix = "" if folder == "." else folder if folder.endswith("/") else folder + "/"
        if self._name.literal is not None:
            if os.path.lexists(prefix + self._name.literal):
                yield prefix + self._name.literal
            return
        matches = self._name.matches
        # Not os.scandir: of a hundred thousand names, an object for each costs more than all the rest.
        yield from (prefix + name for name in os.listdir(folder) if matches(name))  # noqa: PTH208


class _Part:
    """One part of a pattern."""

    def __init__(self, text: str) -> None:
        self.any_folders = text == _ANY_FOLDERS
        self.literal = None if has_wildcard(text) else unescaped(text)
        self._compiled = re.compile(fnmatch.translate(text)).match
        self._hidden = text.startswith(".")

    def matches(self, name: str) -> bool:
        """Whether a name matches this part."""
        if self.literal is not None:
            return name == self.literal
        return self._compiled(name) is not None and (self._hidden or not name.startswith("."))


def _match(folders: Sequence[str], parts: Sequence[_Part]) -> bool:
    if not parts:
        return not folders
    first, rest = parts[0], parts[1:]
    if first.any_folders:
        if _match(folders, rest):
            return True
        return bool(folders) and not folders[0].startswith(".") and _match(folders[1:], parts)
    return bool(folders) and first.matches(folders[0]) and _match(folders[1:], rest)


def _descend(folder: str, parts: Sequence[_Part], on_error: OnError) -> Iterator[str]:
    if not parts:
        yield folder
        return
    first, rest = parts[0], parts[1:]
    for below in _folders(folder, on_error) if first.any_folders else _matching(folder, first, on_error):
        yield from _descend(below, rest, on_error)


def _matching(folder: str, part: _Part, on_error: OnError) -> Iterator[str]:
    """Yield the folders in a folder that match one part."""
    try:
        if part.literal is not None:
            path = os.path.join(folder, part.literal)  # noqa: PTH118 -- a Path for each costs more than all the rest
            found = [path] if Path(path).is_dir() else []
        else:
            with os.scandir(folder) as entries:
                found = sorted(entry.path for entry in entries if part.matches(entry.name) and _is_folder(entry))
    except OSError as exc:
        on_error(folder, exc)
        return
    yield from found


def _folders(begin: str, on_error: OnError) -> Iterator[str]:
    """Yield a folder and all folders below it, through links, without hidden ones, each once."""
    waiting, seen = [begin], set[tuple[int, int]]()
    while waiting:
        path = waiting.pop()
        try:
            status = Path(path).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                below = sorted(entry.path for entry in entries if not entry.name.startswith(".") and _is_folder(entry))
        except OSError as exc:
            on_error(path, exc)
            continue
        yield path
        waiting += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, for example
