"""The service as a process that is killed again and again: every line on the publish topic once, and in order."""

import asyncio
import contextlib
import json
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.options import BusOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus, Record
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.servers.migrated import with_tables

LIVES = 6
FAILPOINTS = ["system.before-submit", "system.after-submit", "system.before-settle"]


@pytest.fixture(params=["postgres", "kafka"])
def bus_options(request: pytest.FixtureRequest, unique_name: str) -> BusOptions:
    topics = TopicsOptions(prefix=unique_name)
    if request.param == "postgres":
        return PostgresBusOptions(topics=topics)
    return KafkaOptions(servers=request.getfixturevalue("kafka").bootstrap, topics=topics)


class Deployment:
    """One replica of the service, and the folder it reads."""

    def __init__(self, folder: Path, database: str, bus: BusOptions, dice: random.Random) -> None:
        self.lines = folder / "lines.ndjson"
        self.drop = folder / "drop"
        self.drop.mkdir()
        self.lines.touch()
        self.dice = dice
        self.database = DatabaseOptions(url=database)
        self.bus = bus
        self.written: dict[str, list[str]] = {"lines": [], "rows": []}
        self.files = 0
        shared = {"interval": 0.05, "batch": 20}
        settings = {
            "database": {"url": database},
            "bus": bus.model_dump(mode="json", exclude_none=True),
            "system": {
                "node": "only",
                "listen": {"port": _free_port()},
                "sources": {
                    "lines": shared | _file(self.lines, channel="lines"),
                    "rows": shared
                    | _file(self.drop / "*.csv", channel="rows", mode="drop")
                    | {"drop": {"ready": "renamed", "after": "archive"}},
                },
            },
        }
        config = folder / "trelay.yaml"
        config.write_text(yaml.safe_dump(settings))
        url = f"http://127.0.0.1:{settings['system']['listen']['port']}/readyz"
        arguments = ["-m", "services.system_api", "--config", str(config)]
        self.program = Program("system", arguments, url, folder / "system.log")

    def write(self) -> None:
        """Let upstream go on."""
        for _ in range(self.dice.randrange(1, 60)):
            number = str(len(self.written["lines"]))
            self.written["lines"].append(number)
            with self.lines.open("a") as file:
                file.write(f'{{"id":"{number}"}}\n')
        rows = [f"{self.files}-{number}" for number in range(self.dice.randrange(1, 50))]
        self.written["rows"] += rows
        part = self.drop / "part"
        part.write_text("id\n" + "".join(f"{row}\n" for row in rows))
        os.utime(part, (self.files, self.files))
        part.rename(self.drop / f"{self.files}.csv")
        self.files += 1

    async def live_and_die(self) -> None:
        """Start, and be killed at a place or at a time, while upstream goes on."""
        failpoint = self.dice.choice([*FAILPOINTS, None])
        self.program.start(failpoint and f"{failpoint}:{self.dice.randrange(1, 8)}")
        dies_at = asyncio.get_running_loop().time() + (20 if failpoint else self.dice.uniform(0.5, 4))
        while (left := dies_at - asyncio.get_running_loop().time()) > 0:
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
        """Wait until everything is published and put away."""
        total = sum(map(len, self.written.values()))
        count = 0
        try:
            async with asyncio.timeout(60):
                while (count := sum(map(len, (await self.published(bus)).values()))) < total:
                    await asyncio.sleep(0.2)
                while list(self.drop.glob("*.csv")):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            left = [path.name for path in self.drop.glob("*.csv")]
            pytest.fail(f"{count} of {total} events, {left} not put away\n{self.program.tail()}")

    async def published(self, bus: Bus) -> dict[str, list[str]]:
        """Return the ids of all data on the publish topic, by channel."""
        topic = self.bus.topics.publish
        bounds = await bus.bounds(topic)
        found: dict[str, list[str]] = {"lines": [], "rows": []}
        async with bus.reader(topic, {number: first for number, (first, _) in bounds.items()}) as reader:
            while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
                for record in await reader.read(wait=1.0):
                    channel, identity = _seen(record)
                    found[channel].append(identity)
        return found


def _file(path: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "file", "path": str(path), "type": "t", "subject": "id"} | more


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _seen(record: Record) -> tuple[str, str]:
    event = json.loads(record.value or b"")
    return event["channel"], event["data"]["id"]


@pytest.mark.timeout(300)
async def test_every_line_comes_once_and_in_order(
    tmp_path: Path, databases: Any, bus_options: BusOptions, record_property: Any
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    record_property("seed", seed)
    async with databases.fresh(with_tables) as database:
        deployment = Deployment(tmp_path, database, bus_options, random.Random(seed))
        for _ in range(LIVES):
            await deployment.live_and_die()
        deployment.program.start()
        await deployment.program.ready()
        async with deployment.reading() as bus:
            await deployment.settled(bus)
            assert await deployment.program.stop() == 0, deployment.program.tail()
            found = await deployment.published(bus)
    assert found["lines"] == deployment.written["lines"], f"seed {seed}"
    assert found["rows"] == deployment.written["rows"], f"seed {seed}"
    assert len(list((deployment.drop / "archive").iterdir())) == deployment.files
