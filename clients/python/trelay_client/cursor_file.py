"""Stores a cursor in a file of one line, which is replaced atomically."""

import os
from pathlib import Path

from trelay_client.errors import UsageError

_LIMIT = 16_384


class CursorFile:
    """A cursor that outlives the program. Its methods block: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

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
            UsageError: the file cannot be written.
        """
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            temporary.write_text(f"{cursor}\n")
            temporary.replace(self._path)
        except OSError as exc:
            raise UsageError(f"{self._path}: cannot write the cursor: {exc.strerror}") from exc
