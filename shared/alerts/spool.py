"""Mails that wait to be sent, oldest first and bounded: in memory, or in a folder where they survive a restart.

A folder belongs to one process at a time. Its calls read and write files: leave them to a thread.
"""

import json
import logging
import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Protocol

logger = logging.getLogger(__name__)

_MAIL, _UNFINISHED, _STATE = ".eml", ".part", "state.json"


class Spool(Protocol):
    """Where mails wait."""

    def put(self, mail: bytes) -> None:
        """Keep a mail, at the cost of the oldest where there are too many."""
        ...

    def oldest(self) -> tuple[str, bytes] | None:
        """Return the mail that waits longest, with the name to `drop` it by."""
        ...

    def drop(self, name: str) -> None:
        """Forget a mail; one that has gone already is no matter."""
        ...

    def save(self, state: object) -> None:
        """Keep a small value that goes with the mails, for the next process."""
        ...

    def saved(self) -> object:
        """Return the value that was kept last, None if there is none."""
        ...

    def __len__(self) -> int:
        """How many mails wait."""
        ...


class MemorySpool:
    """Mails that wait in memory."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._mails: OrderedDict[str, bytes] = OrderedDict()
        self._next = 0
        self._state: object = None

    def put(self, mail: bytes) -> None:
        """Keep a mail."""
        if len(self._mails) >= self._keep:
            self._mails.popitem(last=False)
            logger.warning("too many mails wait: the oldest is dropped")
        self._mails[str(self._next)] = mail
        self._next += 1

    def oldest(self) -> tuple[str, bytes] | None:
        """Return the mail that waits longest."""
        return next(iter(self._mails.items()), None)

    def drop(self, name: str) -> None:
        """Forget a mail."""
        self._mails.pop(name, None)

    def save(self, state: object) -> None:
        """Keep a value."""
        self._state = state

    def saved(self) -> object:
        """Return the value."""
        return self._state

    def __len__(self) -> int:
        return len(self._mails)


class FolderSpool:
    """Mails that wait as files, named by a number that grows."""

    def __init__(self, folder: Path, keep: int) -> None:
        """Open the folder, and make it where it is missing.

        Raises:
            OSError: it cannot be made or written.
        """
        self._folder = folder
        self._keep = keep
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for unfinished in folder.glob(f"*{_UNFINISHED}"):
            unfinished.unlink(missing_ok=True)
        self._write("probe", b"")
        (folder / "probe").unlink()
        names = self._names()
        self._next = int(names[-1].removesuffix(_MAIL)) + 1 if names else 0

    def put(self, mail: bytes) -> None:
        """Keep a mail.

        Raises:
            OSError: it cannot be written.
        """
        names = self._names()
        for name in names[: max(0, len(names) - self._keep + 1)]:
            self.drop(name)
            logger.warning("too many mails wait: the oldest is dropped")
        self._write(f"{self._next:012d}{_MAIL}", mail)
        self._next += 1

    def oldest(self) -> tuple[str, bytes] | None:
        """Return the mail that waits longest; one that cannot be read is dropped."""
        for name in self._names():
            try:
                mail = (self._folder / name).read_bytes()
            except OSError as exc:
                logger.warning("a mail that waited cannot be read and is dropped: %s", exc)
                with suppress(OSError):  # as it is, it is passed over
                    self.drop(name)
                continue
            return name, mail
        return None

    def drop(self, name: str) -> None:
        """Forget a mail."""
        (self._folder / name).unlink(missing_ok=True)

    def save(self, state: object) -> None:
        """Keep a value.

        Raises:
            OSError: it cannot be written.
        """
        self._write(_STATE, json.dumps(state).encode())

    def saved(self) -> object:
        """Return the value; one that is damaged counts as none."""
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
        """Write a file that is there whole or not at all, whenever the machine stops."""
        unfinished = self._folder / f"{name}{_UNFINISHED}"
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / name)
