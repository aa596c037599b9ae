"""The open files of this process below a folder: others may be opened and closed meanwhile, by threads, for example."""

import asyncio
from contextlib import suppress
from pathlib import Path


def descriptors(folder: Path) -> int:
    """Return how many descriptors of this process lead to files below a folder, deleted ones included."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it is closed by now
            found += each.readlink().is_relative_to(folder)
    return found


async def until_few(folder: Path, most: int) -> None:
    """Wait until no more descriptors than `most` lead there: the I/O thread of a source closes files meanwhile."""
    async with asyncio.timeout(60):
        while descriptors(folder) > most:
            await asyncio.sleep(0.01)
