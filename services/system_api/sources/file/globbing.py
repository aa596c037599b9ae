"""The paths of a glob, where `**` stands for any folders: as Python's own finds them, but in each folder once.

Python's follows links to folders for as long as the system lets it: two of them that lead back are enough to keep it
busy for ever.
"""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

_ANY_FOLDERS = "**"


def expand(pattern: str) -> Iterator[str]:
    """Find the paths of a pattern; a path may come more than once. Blocking; what cannot be read is left out."""
    parts = Path(pattern).parts
    if _ANY_FOLDERS not in parts:
        yield from glob.iglob(pattern)  # noqa: PTH207 -- pathlib's would find hidden files too
        return
    at = parts.index(_ANY_FOLDERS)
    above, rest = str(Path(*parts[:at])), parts[at + 1 :] or ("*",)
    for begin in glob.iglob(above) if glob.has_magic(above) else [above]:  # noqa: PTH207
        for folder in _folders(begin):
            yield from expand(str(Path(glob.escape(folder), *rest)))


def _folders(begin: str) -> Iterator[str]:
    """Give a folder and all below it but hidden ones, through links too, each folder once."""
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
        except OSError:
            continue
        yield path
        waiting += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, say
