"""A cursor that outlives the program: a file with one line, there whole or not at all."""

import os
from pathlib import Path

from trelay_client.errors import UsageError

_LIMIT = 16_384


class CursorFile:
    """Where a subscriber notes how far it has come. Its calls read and write a file: leave them to a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> str | None:
        """Return the cursor, None if there is none yet.

        Raises:
            UsageError: the file cannot be read, or holds something else.
        """
        try:
            with self._path.open("rb") as file:
                content = file.read(_LIMIT + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise UsageError(f"{self._path}: the cursor cannot be read: {exc.strerror}") from exc
        text = content.decode(errors="replace").strip()
        if len(content) > _LIMIT or not text.isascii() or not text.isprintable() or " " in text:
            raise UsageError(f"{self._path}: this is no file with a cursor")
        return text or None

    def save(self, cursor: str) -> None:
        """Note a cursor in the place of the one before.

        Raises:
            UsageError: the file cannot be written.
        """
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            beside.write_text(f"{cursor}\n")
            beside.replace(self._path)
        except OSError as exc:
            raise UsageError(f"{self._path}: the cursor cannot be written: {exc.strerror}") from exc
