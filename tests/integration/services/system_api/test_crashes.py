"""A process of the service is killed repeatedly: every line is on the publish topic once, and in order."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import file_source, program, published
from tests.servers.databases import Databases
from tests.servers.migrated import with_tables

CRASHES = 6
CHANNELS = ("lines", "rows")
FAILPOINTS = ["system.before-submit", "system.after-submit", "system.before-settle"]


@pytest.fixture(params=["postgres", "kafka"])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    topics = TopicsOptions(prefix=unique_name)
    if request.param == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(servers=request.getfixturevalue("kafka").bootstrap, topics=topics)


class Deployment:
    """One replica of the service, and the folder it reads."""

    def __init__(self, folder: Path, database: str, bus: BusOptions, rng: random.Random) -> None:
        self.lines = folder / "lines.ndjson"
        self.drop = folder / "drop"
        self.drop.mkdir()
        self.lines.touch()
        self.rng = rng
        self.database = DatabaseOptions(url=database)
        self.bus = bus
        self.written: dict[str, list[str]] = {channel: [] for channel in CHANNELS}
        self.files = 0
        sources = {
            "lines": file_source(self.lines, channel="lines"),
            "rows": file_source(
                self.drop / "*.csv", channel="rows", mode="drop", drop={"ready": "renamed", "after": "archive"}
            ),
        }
        self.program = program(folder, database, bus, sources, node="only")

    def write(self) -> None:
        """Write lines and drop a file."""
        for _ in range(self.rng.randrange(1, 60)):
            number = str(len(self.written["lines"]))
            self.written["lines"].append(number)
            with self.lines.open("a") as file:
                file.write(f'{{"id":"{number}"}}\n')
        rows = [f"{self.files}-{number}" for number in range(self.rng.randrange(1, 50))]
        self.written["rows"] += rows
        part = self.drop / "part"
        part.write_text("id\n" + "".join(f"{row}\n" for row in rows))
        os.utime(part, (self.files, self.files))
        part.rename(self.drop / f"{self.files}.csv")
        self.files += 1

    async def run_and_crash(self) -> None:
        """Start, and crash at a failpoint or at a random time, while the upstream writes."""
        failpoint = self.rng.choice([*FAILPOINTS, None])
        self.program.start(failpoint and f"{failpoint}:{self.rng.randrange(1, 8)}")
        crash_at = asyncio.get_running_loop().time() + (20 if failpoint else self.rng.uniform(0.5, 4))
        while (left := crash_at - asyncio.get_running_loop().time()) > 0:
            self.write()
            with contextlib.suppress(TimeoutError):
                await self.program.ended(min(left, 0.2))
                return
        self.program.kill()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Bus]:
        async with connect(self.bus, self.database) as bus:
            yield bus

    async def settled(self, bus: Bus) -> None:
        """Wait until everything is published and every file archived."""
        total = sum(map(len, self.written.values()))
        count = 0
        try:
            async with asyncio.timeout(240):
                while (count := sum(map(len, (await published(bus, self.bus, CHANNELS)).values()))) < total:
                    await asyncio.sleep(0.2)
                while list(self.drop.glob("*.csv")):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            left = [path.name for path in self.drop.glob("*.csv")]
            pytest.fail(f"{count} of {total} events, {left} not archived\n{self.program.tail()}")


@pytest.mark.timeout(900)
async def test_every_line_is_published_once_and_in_order(
    tmp_path: Path, databases: Databases, bus_options: BusOptions, programs: list[Program], seed: int
) -> None:
    async with databases.fresh(with_tables) as database:
        deployment = Deployment(tmp_path, database, bus_options, random.Random(seed))
        programs.append(deployment.program)
        for _ in range(CRASHES):
            await deployment.run_and_crash()
        deployment.program.start()
        await deployment.program.ready()
        async with deployment.reading() as bus:
            await deployment.settled(bus)
            assert await deployment.program.stop() == 0, deployment.program.tail()
            found = await published(bus, bus_options, CHANNELS)
    assert found["lines"] == deployment.written["lines"], f"seed {seed}"
    assert found["rows"] == deployment.written["rows"], f"seed {seed}"
    assert len(list((deployment.drop / "archive").iterdir())) == deployment.files
