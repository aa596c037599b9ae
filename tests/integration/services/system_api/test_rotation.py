"""Files are rotated while lines are written and the service is killed: every line is published once, and in order."""

import asyncio
import contextlib
import itertools
import random
import shutil
from pathlib import Path

import pytest

from shared.bus.connect import BusOptions, connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import file_source, program, published
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

CHANNELS = ("renamed", "copied", "deleted")
KEPT = 20
"""Files that a rotation by renaming keeps: none is deleted before it was read."""
FAILPOINTS = ["system.before-submit", "system.after-submit", "system.before-settle", None, None]


class Rotation:
    """A file for each kind of rotation, and one replica that reads them."""

    def __init__(self, folder: Path, database: str, bus: BusOptions, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        self.written: dict[str, list[str]] = {channel: [] for channel in CHANNELS}
        self.rotations = itertools.count()
        sources = {
            "renamed": file_source(
                folder / "renamed" / "a.ndjson", channel="renamed", rotated=str(folder / "renamed" / "a.ndjson.*")
            ),
            "copied": file_source(folder / "copied" / "a.ndjson", channel="copied"),
            "deleted": file_source(folder / "deleted" / "a.ndjson", channel="deleted"),
        }
        for channel in CHANNELS:
            (folder / channel).mkdir()
            self.file(channel).touch()
        self.bus = bus
        self.program = program(folder, database, bus, sources, node="only")

    def file(self, channel: str) -> Path:
        return self.folder / channel / "a.ndjson"

    def write(self, rotations: float = 0.02) -> None:
        """Append to each file; rotate the first one at any time, and write on to the open file."""
        for channel in CHANNELS:
            with self.file(channel).open("a") as file:
                for _ in range(self.rng.randrange(1, 40)):
                    if channel == "renamed" and self.rng.random() < rotations:
                        file.flush()
                        self.rename()
                    self.written[channel].append(number := str(len(self.written[channel])))
                    file.write(f'{{"id":"{number}"}}\n')

    def rename(self) -> None:
        path = self.file("renamed")
        if not path.exists():
            return  # it was rotated within this call
        rotated = path.with_name(f"a.ndjson.{next(self.rotations):06}")
        path.rename(rotated)
        for old in sorted(path.parent.glob("a.ndjson.*"))[:-KEPT]:
            old.unlink()

    def rotate_read(self) -> None:
        """Rotate the files of which everything was published: a copy or a deletion leaves nothing to find them by."""
        path = self.file("copied")
        shutil.copyfile(path, path.with_name(f"a.ndjson.{next(self.rotations):06}"))
        with path.open("r+") as file:
            file.truncate()
        self.file("deleted").unlink()

    async def run_first(self, bus: Bus) -> None:
        """Run until the first lines are published: what was rotated before the source was started first is not read."""
        self.program.start()
        await self.program.ready()
        self.write(rotations=0)
        assert await self.settled(bus) == self.written
        self.program.kill()

    async def run_and_crash(self, bus: Bus) -> None:
        """Start, and crash at a failpoint or at a random time, while files are written and rotated."""
        failpoint = self.rng.choice(FAILPOINTS)
        self.program.start(failpoint and f"{failpoint}:{self.rng.randrange(1, 12)}")
        loop = asyncio.get_running_loop()
        if failpoint is None:
            await self.program.ready()
        crash_at = loop.time() + (15 if failpoint else self.rng.uniform(0, 3))
        while (left := crash_at - loop.time()) > 0:
            self.write()
            if self.rng.random() < 0.3 and await published(bus, self.bus, CHANNELS) == self.written:
                self.rotate_read()
            with contextlib.suppress(TimeoutError):
                await self.program.ended(min(left, 0.2))
                return
        self.program.kill()

    async def settled(self, bus: Bus) -> dict[str, list[str]]:
        """Wait until everything is published, and return it."""
        found: dict[str, list[str]] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(240):
                while sum(map(len, (found := await published(bus, self.bus, CHANNELS)).values())) < sum(
                    map(len, self.written.values())
                ):
                    await asyncio.sleep(0.2)
        return found


async def rotate(
    folder: Path, databases: Databases, name: str, programs: list[Program], crashes: int, seed: int
) -> None:
    bus_options = PostgresBusOptions(topics=TopicsOptions(prefix=name))
    async with databases.fresh(with_tables) as database:
        rotation = Rotation(folder, database, bus_options, random.Random(seed))
        programs.append(rotation.program)
        async with connect(bus_options, DatabaseOptions(url=database)) as bus:
            await bus.ensure_topics(bus_options.topics.all())
            await rotation.run_first(bus)
            for _ in range(crashes):
                await rotation.run_and_crash(bus)
            rotation.program.start()
            await rotation.program.ready()
            found = await rotation.settled(bus)
            assert await rotation.program.stop() == 0, rotation.program.tail()
    for channel in CHANNELS:
        assert found[channel] == rotation.written[channel], f"{channel}, seed {seed}\n{rotation.program.tail()}"


@pytest.mark.timeout(900)
async def test_lines_are_published_once_through_rotations_and_crashes(
    tmp_path: Path, databases: Databases, unique_name: str, programs: list[Program], seed: int
) -> None:
    await rotate(tmp_path, databases, unique_name, programs, crashes=2, seed=seed)


@pytest.mark.chaos
async def test_lines_are_published_once_through_many_rotations_and_crashes(
    tmp_path: Path, databases: Databases, unique_name: str, programs: list[Program], seed: int
) -> None:
    await rotate(tmp_path, databases, unique_name, programs, crashes=40, seed=seed)
