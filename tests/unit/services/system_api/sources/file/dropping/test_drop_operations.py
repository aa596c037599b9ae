"""Random drops, commits and crashes: every line of every file exactly once."""

import asyncio
import contextlib
import os
import random
from collections import deque
from pathlib import Path

import pytest

from services.system_api.sources.file.options import After
from services.system_api.sources.source import Batch
from tests.unit.services.system_api.sources.file.file_poller import dropping, lines, write


class RandomOperations:
    """Files are dropped while two batches are in flight and the reader crashes, at random."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.poller = dropping(folder, after=rng.choice(["archive", "delete", "keep"]), receipt=rng.random() < 0.3)
        self.in_flight: deque[Batch] = deque()
        self.opened = contextlib.AsyncExitStack()
        self.written = 0
        self.files = 0

    async def drop(self) -> None:
        part, count = self.folder / "part", self.rng.randrange(30)
        write(part, *range(self.written, self.written + count), end=self.rng.choice(["\n", ""]))
        self.written += count
        self.files += 1
        os.utime(part, (self.files, self.files))
        part.rename(self.folder / f"{self.files}.ndjson")
        if count == 0:
            (self.folder / f"{self.files}.ndjson").unlink()  # a blank line is no event

    async def poll(self) -> None:
        self.in_flight.append(await self.poller.source.poll(self.rng.randrange(1, 25)))
        if len(self.in_flight) > 2:
            await self.commit()

    async def commit(self) -> None:
        if self.in_flight:
            await self.poller.commit(self.in_flight.popleft())

    async def reopen(self) -> None:
        self.in_flight.clear()  # what was not committed is lost
        await self.opened.aclose()
        await self.opened.enter_async_context(self.poller.opened())


@pytest.mark.parametrize("seed", range(12))
async def test_random_operations_publish_every_line_once_and_in_order(tmp_path: Path, seed: int) -> None:
    random_operations = RandomOperations(tmp_path, random.Random(seed))
    operations = (
        [random_operations.drop] * 2
        + [random_operations.poll] * 5
        + [random_operations.commit] * 2
        + [random_operations.reopen]
    )
    await random_operations.reopen()
    async with random_operations.opened:
        for _ in range(300):
            await random_operations.rng.choice(operations)()
        while random_operations.in_flight:
            await random_operations.commit()
        async with asyncio.timeout(60):
            while (await random_operations.poller.poll()).more or (
                random_operations.poller.options.drop.after is not After.KEEP and list(tmp_path.glob("*.ndjson"))
            ):
                pass
    assert random_operations.poller.data == lines(*range(random_operations.written)), f"seed {seed}"
    assert len(set(random_operations.poller.ids)) == random_operations.written
    assert random_operations.poller.rejects == []
