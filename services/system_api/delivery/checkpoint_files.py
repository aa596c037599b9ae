"""The checkpoints of sources in a folder. Blocking, for one thread.

    <source>.json    all parts, replaced as a whole
    <source>.log     a line for each transaction since then

A transaction costs as much as what it changes, however many parts there are: a source may have one for each file that
it knows. Once the log is larger than the parts, they are written again, and the log begins anew. A crash in between
leaves changes in the log that the parts have already, and that change nothing when they are applied again. A line
without its end is of a transaction that was not committed.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.runtime.files import replace

SMALLEST_LOG = 65_536
"""Bytes of a log that is never too large."""


@dataclass(slots=True)
class _Known:
    parts: dict[str, str]
    size: int
    """Bytes of the file of all parts."""
    log_size: int
    """Bytes of the log that are committed."""


class CheckpointFiles:
    """The checkpoints in one folder, which nothing else writes meanwhile."""

    def __init__(self, folder: Path) -> None:
        """The folder must exist."""
        self._folder = folder
        self._known: dict[str, _Known] = {}

    def parts(self, source: str) -> Mapping[str, str]:
        """Return the parts of a source by key, none of one that is not known.

        Raises:
            OSError: they cannot be read.
            ValueError: the files are not those that Trelay has written.
        """
        return self._of(source).parts

    def write(self, source: str, changes: Mapping[str, str | None]) -> None:
        """Save changed parts; None removes one. They are on the disk when this returns.

        Raises:
            OSError: they are not saved.
            ValueError: as `parts`.
        """
        known, path = self._of(source), self._folder / f"{source}.log"
        line = json.dumps(changes).encode() + b"\n"
        new = known.log_size == 0
        with path.open("ab") as file:
            file.truncate(known.log_size)  # what a failed write has left
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync_folder(self._folder)
        known.log_size += len(line)
        _apply(changes, known.parts)
        if known.log_size > max(SMALLEST_LOG, known.size):
            with suppress(OSError):  # the changes are saved; it is tried again with the next ones
                self._rewrite(source, known)

    def _rewrite(self, source: str, known: _Known) -> None:
        content = json.dumps(known.parts).encode()
        replace(self._folder / f"{source}.json", content)
        known.size = len(content)
        with (self._folder / f"{source}.log").open("r+b") as file:
            file.truncate(0)
            os.fsync(file.fileno())
        known.log_size = 0

    def _of(self, source: str) -> _Known:
        known = self._known.get(source)
        if known is None:
            known = self._known[source] = self._load(source)
        return known

    def _load(self, source: str) -> _Known:
        self._folder.stat()  # a folder that is gone is no folder without checkpoints
        content = _read(self._folder / f"{source}.json")
        parts: dict[str, str] = json.loads(content) if content else {}
        log = _read(self._folder / f"{source}.log")
        committed = log[: log.rfind(b"\n") + 1]
        for line in committed.split(b"\n")[:-1]:
            _apply(json.loads(line), parts)
        return _Known(parts, len(content), len(committed))


def _apply(changes: Mapping[str, str | None], parts: dict[str, str]) -> None:
    for key, value in changes.items():
        if value is None:
            parts.pop(key, None)
        else:
            parts[key] = value


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
