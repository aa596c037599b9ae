"""Two replicas are killed while a pipeline is paused and rewound: each event once, and again where it was asked."""

import asyncio
import contextlib
import json
import random
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.bus.connect import BusOptions, connect
from shared.bus.protocol import Bus
from tests.e2e.hops import patient
from tests.e2e.programs import Program
from tests.integration.services.process_api.test_crashes import (
    SUBJECTS,
    Deployment,
    Outcome,
    bus_options,
    expected,
    outcome,
)
from tests.servers.migrated import with_tables

__all__ = ["bus_options"]


class Operated(Deployment):
    """Two replicas whose endpoints for operators are used."""

    def url(self, replica: Program) -> str:
        port = yaml.safe_load(self.configs[replica.name].read_text())["process"]["listen"]["port"]
        return f"http://127.0.0.1:{port}/pipelines/copies"

    def __init__(self, folder: Path, database: str, bus: BusOptions, rng: random.Random) -> None:
        self.configs = {name: folder / f"{name}.yaml" for name in ("a", "b")}
        super().__init__(folder, database, bus, rng)

    async def ask(self, replica: Program, action: str = "", body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url(replica) + action, data)

        def call() -> Any:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        return await asyncio.to_thread(call)

    async def until(self, replica: Program, condition: Any) -> None:
        async with asyncio.timeout(240):
            while (found := await self.ask(replica))["unknown"] or not condition(found):
                await asyncio.sleep(0.2)

    async def plan(self, replica: Program) -> Any:
        """Ask for a dry run until it is answered: 503 while a transaction of the killed replica is open."""
        async with asyncio.timeout(240):
            while True:
                try:
                    return await self.ask(replica, "/rewind", {"to": "beginning", "dry_run": True})
                except urllib.error.HTTPError as exc:
                    if exc.code != HTTPStatus.SERVICE_UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.2)

    async def paused_and_rewound(self, bus: Bus) -> int:
        """Pause the pipeline, rewind it with kills in between, and resume it; return how many events it had taken."""
        a, b = self.replicas
        await self.write(bus, 5)
        first = self.count
        await self.until(a, lambda found: found["lag"] is not None and found["events"]["taken"] == first)
        assert (await self.ask(b, "/pause", {"reason": "repair"}))["state"] == "paused"
        await self.write(bus, 5)
        await self.until(a, lambda found: found["state"] == "paused")
        b.kill()
        b.start("process.rewound:1")
        await b.ready()
        planned = await self.plan(a)
        assert (planned["events"], planned["exact"]) == (first, True)
        await self.ask(a, "/rewind", {"to": "beginning"})
        await asyncio.sleep(self.rng.uniform(0, 0.5))
        a.kill()
        a.start()
        await a.ready()
        with contextlib.suppress(TimeoutError):  # where the other replica had all partitions
            await b.ended(10)
        b.kill()
        b.start()
        await b.ready()
        await self.until(b, lambda found: found["rewind"]["state"] == "done")
        assert (await outcome(bus, self.bus.topics)).numbers["copies"] == copies(first)
        await self.ask(b, "/resume", {})
        return first


@pytest.mark.timeout(900)
async def test_a_pause_and_a_rewind_survive_kills_and_lose_and_repeat_nothing_else(
    tmp_path: Path, databases: Any, bus_options: BusOptions, seed: int
) -> None:
    async with databases.fresh(with_tables) as database:
        deployment = Operated(tmp_path, database, bus_options, random.Random(seed))
        a, b = deployment.replicas
        async with connect(patient(bus_options), deployment.database) as bus:
            await bus.ensure_topics(bus_options.topics.all())
            for replica in (a, b):
                replica.start()
            try:
                for replica in (a, b):
                    await replica.ready()
                first = await deployment.paused_and_rewound(bus)
                wanted, dead = expected(deployment.count)
                again = copies(deployment.count)
                wanted["copies"] = {each: copies(first)[each] + again[each] for each in again}
                total = sum(len(each) for channel in wanted.values() for each in channel.values()) + len(dead)
                async with asyncio.timeout(240):
                    while (found := await outcome(bus, bus_options.topics)).count < total:
                        await asyncio.sleep(0.3)
                for replica in (a, b):
                    assert await replica.stop() == 0, replica.tail()
                found = await outcome(bus, bus_options.topics)
            finally:
                print(*(replica.tail() for replica in (a, b)), sep="\n")
                for replica in (a, b):
                    replica.kill()
    assert isinstance(found, Outcome)
    assert found.numbers == wanted, f"seed {seed}"
    assert sorted(found.dead) == sorted(dead), f"seed {seed}"


def copies(count: int) -> dict[int, list[int]]:
    """What the pipeline `copies` makes of so many events, by subject."""
    return {subject: list(range(subject, count, SUBJECTS)) for subject in range(min(SUBJECTS, count))}
