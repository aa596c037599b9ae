"""Random operations on a growing file: every line exactly once, through rotation, rewriting and crashes."""

import contextlib
import random
from pathlib import Path

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, lines, write


class RandomOperations:
    """Operations on a file and on the source that reads it, at random."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.path = folder / "a.ndjson"
        self.path.touch()
        self.poller = FilePoller(self.path)
        self.rng = rng
        self.written = 0
        self.rotated = 0
        self.opened = contextlib.AsyncExitStack()

    async def reopen(self) -> None:
        await self.opened.aclose()
        await self.opened.enter_async_context(self.poller.opened())

    async def write(self) -> None:
        count = self.rng.randrange(1, 40)
        write(self.path, *range(self.written, self.written + count))
        self.written += count

    async def write_a_part(self) -> None:
        line = f'{{"id":"{self.written}"}}\n'
        cut = self.rng.randrange(len(line))
        with self.path.open("a") as file:
            file.write(line[:cut])
        if self.rng.random() < 0.5:
            await self.poll()
        with self.path.open("a") as file:
            file.write(line[cut:])
        self.written += 1

    async def poll(self) -> None:
        await self.poller.poll(self.rng.randrange(1, 50))

    async def crash(self) -> None:
        for _ in range(self.rng.randrange(1, 3)):
            await self.poller.source.poll(self.rng.randrange(1, 50))  # and not committed
        await self.reopen()

    async def rotate(self) -> None:
        await self.poller.drain()  # if it is rotated twice between two scans, the order is unknown
        if self.path.stat().st_size:
            self.rotated += 1
            self.path.rename(self.path.with_suffix(f".{self.rotated}"))
            self.path.touch()

    async def edit(self) -> None:
        await self.poller.drain()
        copy = self.path.with_suffix(".copy")
        copy.write_bytes(self.path.read_bytes())
        copy.rename(self.path)


@pytest.mark.parametrize("seed", range(12))
async def test_random_operations_publish_every_line_once_and_in_order(tmp_path: Path, seed: int) -> None:
    random_operations = RandomOperations(tmp_path, random.Random(seed))
    operations = [random_operations.write] * 3 + [random_operations.poll] * 2
    operations += [
        random_operations.write_a_part,
        random_operations.crash,
        random_operations.reopen,
        random_operations.rotate,
        random_operations.edit,
    ]
    await random_operations.reopen()
    async with random_operations.opened:
        for _ in range(300):
            await random_operations.rng.choice(operations)()
        await random_operations.poller.drain()
    assert random_operations.poller.data == lines(*range(random_operations.written)), f"seed {seed}"
    assert len(set(random_operations.poller.ids)) == random_operations.written
    assert random_operations.poller.rejects == []
