"""Unsent mails, oldest first and bounded: in memory, or in a folder where they survive a restart.

A folder belongs to one process at a time. Its methods read and write files: call them in a thread.
"""

import json
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

logger = logging.getLogger(__name__)

_MAIL, _UNFINISHED, _STATE = ".eml", ".part", "state.json"
_COMPONENT = {"component": "alerts"}


class Spool(Protocol):
    """A queue of unsent mails, and one value that is saved with them."""

    def put(self, mail: bytes) -> None:
        """Add a mail; drop the oldest where there are too many."""
        ...

    def oldest(self) -> tuple[str, bytes] | None:
        """Return the name and the content of the oldest mail; `drop` takes the name."""
        ...

    def drop(self, name: str) -> None:
        """Remove a mail; nothing happens where it is gone already."""
        ...

    def mails(self) -> Iterable[tuple[str, bytes]]:
        """Return all mails that can be read with their names, oldest first."""
        ...

    def save(self, state: object) -> None:
        """Save a small JSON value for the next process."""
        ...

    def saved(self) -> object:
        """Return the value that was saved last, None if there is none."""
        ...

    def __len__(self) -> int: ...


class MemorySpool:
    """A spool in memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._mails: OrderedDict[str, bytes] = OrderedDict()
        self._next = 0
        self._state: object = None

    def put(self, mail: bytes) -> None:
        if len(self._mails) >= self._limit:
            self._mails.popitem(last=False)
            _log_overflow(self._limit)
        self._mails[str(self._next)] = mail
        self._next += 1

    def oldest(self) -> tuple[str, bytes] | None:
        return next(iter(self._mails.items()), None)

    def drop(self, name: str) -> None:
        self._mails.pop(name, None)

    def mails(self) -> Iterable[tuple[str, bytes]]:
        return list(self._mails.items())

    def save(self, state: object) -> None:
        self._state = state

    def saved(self) -> object:
        return self._state

    def __len__(self) -> int:
        return len(self._mails)


class RescuedSpool(MemorySpool):
    """A spool in memory in place of one that has failed, with the mails of that one.

    They stay there as well until they are sent, and where the file cannot be removed then.
    """

    def __init__(self, failed: Spool, limit: int) -> None:
        super().__init__(limit)
        self._failed = failed
        with suppress(OSError):
            self._mails.update(failed.mails())

    def drop(self, name: str) -> None:
        super().drop(name)
        with suppress(OSError):
            self._failed.drop(name)


class FolderSpool:
    """A spool of files, named by an increasing number."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Open the folder; create it where it is missing.

        Raises:
            OSError: the folder cannot be created or written.
        """
        self._folder = folder
        self._limit = limit
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for unfinished in folder.glob(f"*{_UNFINISHED}"):
            unfinished.unlink(missing_ok=True)
        self._write("probe", b"")
        (folder / "probe").unlink()
        names = self._names()
        self._next = int(names[-1].removesuffix(_MAIL)) + 1 if names else 0

    def put(self, mail: bytes) -> None:
        """Add a mail.

        Raises:
            OSError: it cannot be written.
        """
        names = self._names()
        for name in names[: max(0, len(names) - self._limit + 1)]:
            self.drop(name)
            _log_overflow(self._limit)
        self._write(f"{self._next:012d}{_MAIL}", mail)
        self._next += 1

    def oldest(self) -> tuple[str, bytes] | None:
        """Return the oldest mail; one that cannot be read is dropped."""
        for name in self._names():
            path = self._folder / name
            try:
                mail = path.read_bytes()
            except OSError as exc:
                fields = {**_COMPONENT, "path": str(path), "error": str(exc)}
                logger.warning("cannot read unsent mail, dropping it", extra=fields)
                with suppress(OSError):  # one that cannot be removed is skipped
                    self.drop(name)
                continue
            return name, mail
        return None

    def mails(self) -> Iterable[tuple[str, bytes]]:
        """Return all mails that can be read with their names, oldest first."""
        for name in self._names():
            with suppress(OSError):
                yield name, (self._folder / name).read_bytes()

    def drop(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def save(self, state: object) -> None:
        """Save a value.

        Raises:
            OSError: it cannot be written.
        """
        self._write(_STATE, json.dumps(state).encode())

    def saved(self) -> object:
        """Return the value that was saved last; one that is damaged counts as none."""
        try:
            found: object = json.loads((self._folder / _STATE).read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob(f"*{_MAIL}") if path.stem.isdecimal())

    def _write(self, name: str, content: bytes) -> None:
        """Write a file atomically and durably."""
        unfinished = self._folder / f"{name}{_UNFINISHED}"
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / name)


def _log_overflow(limit: int) -> None:
    logger.warning("too many unsent mails, dropping the oldest", extra={**_COMPONENT, "limit": limit})
