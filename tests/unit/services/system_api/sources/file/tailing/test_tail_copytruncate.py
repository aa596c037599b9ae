"""Random operations on a file that logrotate copies and truncates: every line exactly once, and in order."""

import contextlib
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines

_SMALLEST = 1
"""Bytes from which on the file is rotated: too little of a smaller one tells that it is a copy."""


class RandomOperations:
    """Operations on a file, its copies, and the source that reads them, at random."""

    def __init__(self, folder: Path, rng: random.Random, writer: int, kept: int) -> None:
        """`writer` is a descriptor of the file, `kept` how many copies rotation leaves."""
        self.path = folder / "a.ndjson"
        self.copies = folder / rng.choice(["", "old"])
        self.copies.mkdir(exist_ok=True)
        self.clock = ManualClock()
        rotated = str(self.copies / "a.ndjson.*")
        # A hole that rotation leaves is larger than the limit.
        self.poller = FilePoller(self.path, self.clock, rotated=rotated, line_limit=300)
        self.rng = rng
        self.writer = writer
        self.kept = kept
        self.written = 0
        self.opened = contextlib.AsyncExitStack()

    async def reopen(self) -> None:
        await self.opened.aclose()
        await self.opened.enter_async_context(self.poller.opened())

    async def write(self, count: int | None = None) -> None:
        numbers = range(self.written, self.written + (count or self.rng.randrange(1, 120)))
        os.write(self.writer, b"".join(b'{"id":"%d"}\n' % number for number in numbers))
        self.written = numbers.stop

    async def poll(self) -> None:
        self.clock.at += self.rng.choice([0, 0, 2, 10])
        await self.poller.poll(self.rng.randrange(1, 80))

    async def crash(self) -> None:
        for _ in range(self.rng.randrange(1, 3)):
            await self.poller.source.poll(self.rng.randrange(1, 80))  # and not committed
        await self.reopen()

    async def drain(self) -> None:
        self.clock.at += 2
        await self.poller.drain()

    async def rotate(self) -> None:
        """Copy and truncate the file; of what is written between both, only what was read is not lost."""
        if self.path.stat().st_size < _SMALLEST or not self.poller.files:
            return
        for number in range(len(list(self.copies.glob("a.ndjson.*"))), 0, -1):
            (self.copies / f"a.ndjson.{number}").rename(self.copies / f"a.ndjson.{number + 1}")
        (self.copies / f"a.ndjson.{self.kept + 1}").unlink(missing_ok=True)  # the next copy may get its inode
        shutil.copyfile(self.path, self.copies / "a.ndjson.1")
        for _ in range(self.rng.randrange(3)):
            await self.rng.choice([self.poll, self.poll, self.crash, self.reopen])()
        if self.rng.random() < 0.3:
            await self.write(3)
            await self.drain()
        os.truncate(self.path, 0)
        if self.rng.random() < 0.5:
            await self.write()
        await self.drain()


@pytest.mark.parametrize("kept", [3, 100])
@pytest.mark.parametrize("append", [True, False])
@pytest.mark.parametrize("seed", range(10))
async def test_random_operations_publish_every_line_once_and_in_order(
    tmp_path: Path, seed: int, append: bool, kept: int
) -> None:
    with (tmp_path / "a.ndjson").open("ab" if append else "wb", buffering=0) as file:
        random_operations = RandomOperations(tmp_path, random.Random(seed), file.fileno(), kept)
        operations = [random_operations.write, random_operations.poll] * 3
        operations += [random_operations.crash, random_operations.reopen, random_operations.rotate]
        await random_operations.reopen()
        async with random_operations.opened:
            for _ in range(120):
                await random_operations.rng.choice(operations)()
            await random_operations.drain()
    poller = random_operations.poller
    assert poller.data == lines(*range(random_operations.written)), f"seed {seed}"
    assert poller.rejects == []
    # Of a copy that is deleted while nothing reads it, nobody knows whether its end was read.
    assert kept == 3 or poller.losses == []
