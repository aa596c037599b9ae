"""Random rotations, by renaming, of short files whose lines are all the same: none is lost or repeated."""

import contextlib
import random
from pathlib import Path

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines


class EqualLines:
    """A file of equal lines, its rotation, and the source that reads it, at random."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.path, self.rng, self.clock = folder / "a.ndjson", rng, ManualClock()
        self.poller = FilePoller(self.path, self.clock, rotated=str(folder / "a.ndjson.*"))
        self.written = self.rotations = 0
        self.opened = contextlib.AsyncExitStack()

    async def reopen(self) -> None:
        await self.opened.aclose()
        await self.opened.enter_async_context(self.poller.opened())

    async def write(self) -> None:
        count = self.rng.randrange(1, 4)
        with self.path.open("a") as file:
            file.write('{"id":"1"}\n' * count)
        self.written += count

    async def poll(self) -> None:
        self.clock.at += self.rng.choice([0, 0, 2, 10])
        await self.poller.poll(self.rng.randrange(1, 4))

    async def crash(self) -> None:
        await self.poller.source.poll(self.rng.randrange(1, 4))  # and not committed
        await self.reopen()

    async def drain(self) -> None:
        self.clock.at += 2
        await self.poller.drain()

    async def rotate(self) -> None:
        for _ in range(self.rng.randrange(1, 3)):
            self.rotations += 1
            self.path.rename(f"{self.path}.{self.rotations:04}")
            await self.write()


@pytest.mark.parametrize("seed", range(20))
async def test_random_rotations_lose_and_repeat_no_line(tmp_path: Path, seed: int) -> None:
    equal = EqualLines(tmp_path, random.Random(seed))
    operations = [equal.write, equal.poll, equal.poll, equal.crash, equal.reopen, equal.rotate]
    await equal.write()
    await equal.reopen()
    async with equal.opened:
        await equal.drain()
        for _ in range(60):
            await equal.rng.choice(operations)()
        await equal.drain()
    assert equal.poller.data == lines(*[1] * equal.written), f"seed {seed}"
    assert equal.poller.losses == []
