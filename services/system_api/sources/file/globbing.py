"""Expands a glob with `**` as Python does, but visits each folder once.

Python follows symbolic links to folders without checking for cycles: two links to a parent folder are enough for a
listing that does not end in practice.
"""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

_ANY_FOLDERS = "**"


def expand(pattern: str) -> Iterator[str]:
    """Yield the paths of a pattern, possibly with repetitions. Blocking; folders that cannot be read are skipped."""
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
        except OSError:
            continue
        yield path
        waiting += reversed(below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, for example
