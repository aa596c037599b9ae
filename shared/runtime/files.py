"""Writes files so that a crash leaves the old content or the new one."""

import os
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Replace a file as a whole: after a crash it has the old content or the new one."""
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
