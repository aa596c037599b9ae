"""Three replicas share nine sources evenly; whatever is killed or paused, every line is published once, in order."""

import asyncio
import contextlib
import json
import os
import random
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import file_source, program, published

OPTIONS = PostgresBusOptions()
NAMES = [f"s{number}" for number in range(9)]
MOVE_LIMIT = 60.0
"""Seconds for sources to move on a busy machine; on an idle one it takes the three seconds of a lease and a little."""


class Deployment:
    """Three replicas of the service, and what was written for their sources."""

    def __init__(self, folder: Path, database: DatabaseOptions, bus: Bus) -> None:
        self._bus = bus
        self._folder = folder
        self.written = dict.fromkeys(NAMES, 0)
        sources = {name: file_source(folder / f"{name}.ndjson", channel=name) for name in NAMES}
        for name in NAMES:
            (folder / f"{name}.ndjson").touch()
        self.replicas = [program(folder, database.url, OPTIONS, sources, node=node) for node in ("one", "two", "three")]

    def write(self, count: int = 20) -> None:
        """Write lines for each source."""
        for name, first in self.written.items():
            with (self._folder / f"{name}.ndjson").open("a") as file:
                file.write("".join(f'{{"id":"{number}"}}\n' for number in range(first, first + count)))
            self.written[name] = first + count

    async def shown(self, replica: Program) -> dict[str, Any]:
        """Return what a replica shows of all sources."""
        url = replica.ready_url.replace("readyz", "sources")

        def get() -> Any:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)

        found: dict[str, Any] = await asyncio.to_thread(get)
        return found

    async def spread(self, *alive: Program) -> float:
        """Wait until these replicas have even shares, and each of them shows it; return the seconds that took."""
        began, counts = time.monotonic(), [Counter[str]()]
        even = sorted(len(NAMES) // len(alive) + (rank < len(NAMES) % len(alive)) for rank in range(len(alive)))
        nodes = {replica.name for replica in alive}
        try:
            async with asyncio.timeout(240):
                while not all(set(found) == nodes and sorted(found.values()) == even for found in counts):
                    await asyncio.sleep(0.1)
                    with contextlib.suppress(OSError):  # one that has just started
                        shown = [await self.shown(replica) for replica in alive]
                        counts = [Counter(source["owner"] for source in found.values()) for found in shown]
        except TimeoutError:
            pytest.fail(f"{counts}\n{alive[0].tail()}")
        return time.monotonic() - began

    async def settle(self) -> float:
        """Wait until everything that was written is published; return the seconds that took."""
        began, total, count = time.monotonic(), sum(self.written.values()), 0
        try:
            async with asyncio.timeout(240):
                while (count := sum(map(len, (await self.found()).values()))) < total:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{count} of {total}\n" + "\n".join(replica.tail(20) for replica in self.replicas))
        return time.monotonic() - began

    async def found(self) -> dict[str, list[str]]:
        return await published(self._bus, OPTIONS, NAMES)

    async def check(self) -> None:
        """Every line is published once, and in order."""
        found = await self.found()
        assert found == {name: [str(number) for number in range(count)] for name, count in self.written.items()}


@asynccontextmanager
async def deployed(folder: Path, database: DatabaseOptions, programs: list[Program]) -> AsyncIterator[Deployment]:
    async with connect(OPTIONS, database) as bus:
        await bus.ensure_topics(OPTIONS.topics.all())
        deployment = Deployment(folder, database, bus)
        programs += deployment.replicas
        for replica in deployment.replicas:
            replica.start()
        for replica in deployment.replicas:
            await replica.ready()
        yield deployment


@pytest.mark.timeout(900)
async def test_sources_are_spread_and_move_from_replicas_that_die_or_hang(
    tmp_path: Path, migrated_database: DatabaseOptions, programs: list[Program]
) -> None:
    async with deployed(tmp_path, migrated_database, programs) as deployment:
        one, two, three = deployment.replicas
        deployment.write()
        print(f"three replicas: even after {await deployment.spread(one, two, three):.1f} s")
        await deployment.settle()
        one.kill()
        deployment.write()
        took = await deployment.settle()
        print(
            f"one killed: all published after {took:.1f} s, even after {await deployment.spread(two, three):.1f} s more"
        )
        assert took < MOVE_LIMIT
        two.pause()
        deployment.write()
        took = await deployment.settle()
        print(f"one paused: all published after {took:.1f} s")
        assert took < MOVE_LIMIT
        two.resume()  # with its old leases and its pending writes
        one.start()
        deployment.write()
        await deployment.spread(one, two, three)
        await deployment.settle()
        shown = await deployment.shown(one)
        assert {source["counts"]["unaccounted"] for source in shown.values()} == {0}
        for replica in deployment.replicas:
            assert await replica.stop() == 0, replica.tail()
        await deployment.check()


@pytest.mark.chaos
async def test_replicas_are_killed_and_paused_at_random(
    tmp_path: Path, migrated_database: DatabaseOptions, programs: list[Program], seed: int
) -> None:
    rng, until = random.Random(seed), time.monotonic() + float(os.environ.get("TRELAY_TEST_CHAOS_SECONDS") or 600)
    async with deployed(tmp_path, migrated_database, programs) as deployment:
        longest = 0.0
        while time.monotonic() < until:
            victims = rng.sample(deployment.replicas, rng.choice([1, 1, 2]))
            kill = rng.random() < 0.5
            for victim in victims:
                victim.kill() if kill else victim.pause()
            deployment.write(rng.randrange(1, 100))
            longest = max(longest, await deployment.settle())
            for victim in victims:
                victim.start() if kill else victim.resume()
            deployment.write(rng.randrange(1, 100))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(0, 3)):
                    await deployment.settle()
            if rng.random() < 0.3:
                await deployment.spread(*deployment.replicas)
        await deployment.settle()
        await deployment.spread(*deployment.replicas)
        await deployment.check()
        print(f"longest until all was published: {longest:.1f} s")
