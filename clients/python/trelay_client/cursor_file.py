"""Stores a cursor in a file of one line, which is replaced atomically."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from trelay_client.errors import UsageError

if sys.platform != "win32":
    import fcntl

_LIMIT = 16_384
_PID_DIGITS = 20


class CursorFile:
    """A cursor that outlives the program. Its methods block: call them in a thread."""

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        """`sync` is whether each cursor is on the disk before the next event is taken.

        Without it, a power failure may leave an older cursor, or on some file systems an empty file: then the program
        begins anew, and what it had not received is lost to it. With it, each cursor costs what the disk takes to
        synchronise, from a fraction of a millisecond to some tens of them.
        """
        self._path = path
        self._sync = sync
        self._is_listed = False
        """Whether the folder is known to have the file after a power failure too."""
        self._lock: int | None = None

    def acquire(self) -> None:
        """Keep other subscriptions from using the file, in this program and in others, until `release`.

        Two of them would replace each other's cursor, and lose events. The lock is on a file beside it, which stays; it
        ends with the program. On Windows, and on file systems without locks, nothing is locked.

        Raises:
            UsageError: another subscription uses the file, or the file beside it cannot be written.
        """
        path = self._path.with_name(f".{self._path.name}.lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise UsageError(f"{self._path}: cannot open {path.name} beside it: {exc.strerror}") from exc
        try:
            self._hold(lock)
        except UsageError:
            os.close(lock)
            raise
        self._lock = lock

    def release(self) -> None:
        """Let another subscription use the file."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            if sys.platform != "win32":
                with suppress(OSError):  # a process that was forked meanwhile would keep the lock of a closed file
                    fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)

    def load(self) -> str | None:
        """Return the cursor; None if the file does not exist or is empty.

        Raises:
            UsageError: the file cannot be read, or does not hold a cursor.
        """
        try:
            with self._path.open("rb") as file:
                content = file.read(_LIMIT + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise UsageError(f"{self._path}: cannot read the cursor: {exc.strerror}") from exc
        text = content.decode(errors="replace").strip()
        if len(content) > _LIMIT or not text.isascii() or not text.isprintable() or " " in text:
            raise UsageError(f"{self._path}: found other content; expected a cursor")
        return text or None

    def save(self, cursor: str) -> None:
        """Replace the stored cursor.

        Raises:
            UsageError: the file cannot be written; it holds the cursor before.
        """
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._replace(temporary, f"{cursor}\n".encode())
        except OSError as exc:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise UsageError(f"{self._path}: cannot write the cursor: {exc.strerror}") from exc

    def _replace(self, temporary: Path, content: bytes) -> None:
        with temporary.open("wb") as file:
            file.write(content)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(self._path)
        if self._sync and not self._is_listed:
            # Once: of two cursors, the older one only makes events come again. Without a file, none would come at all.
            _sync_folder(self._path.parent)
            self._is_listed = True

    def _hold(self, lock: int) -> None:
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.read(lock, _PID_DIGITS).decode(errors="replace").strip()
            who = f" of process {holder}" if holder.isdecimal() else ""
            raise UsageError(
                f"{self._path}: another subscription{who} uses this file; give each subscription a file of its own"
            ) from exc
        except OSError:
            return  # a file system without locks
        with suppress(OSError):  # only for the text above
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())


def _sync_folder(path: Path) -> None:
    if sys.platform == "win32":
        return  # it opens no folders
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # one that may be written and not read
    try:
        os.fsync(folder)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # a file system that cannot do so, such as some of networks
            raise
    finally:
        os.close(folder)
