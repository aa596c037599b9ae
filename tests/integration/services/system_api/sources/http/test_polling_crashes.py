"""The service is killed while it reads an API whose pages move: every record is published once, in its last version."""

import asyncio
import contextlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.database.options import DatabaseOptions
from shared.runtime.clock import rfc3339
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import program
from tests.integration.services.system_api.sources.http.http_poller import LOOPBACK
from tests.servers.http_api import HttpApi, Listing, http_api

OPTIONS = PostgresBusOptions()
CRASHES = 4
FAILPOINTS = ["system.before-submit", "system.after-submit", "system.before-settle"]


class Upstream:
    """Two lists in ascending order of their last change."""

    def __init__(self, api: HttpApi, rng: random.Random) -> None:
        self.rng = rng
        self.at = 1_700_000_000
        self.lists = {name: Listing(size=7) for name in ("time", "snapshot")}
        self.versions: dict[str, dict[str, int]] = {name: {} for name in self.lists}
        for name, listing in self.lists.items():
            api.answer(f"/{name}", listing)

    def change(self) -> None:
        """Insert and update records."""
        for name, listing in self.lists.items():
            for _ in range(self.rng.randrange(3)):
                self.at += 1
                chosen = self.rng.choice([*self.versions[name], f"r{len(self.versions[name])}"])
                version = self.versions[name].get(chosen, 0) + 1
                self.versions[name][chosen] = version
                listing.records = [each for each in listing.records if each["id"] != chosen]
                listing.records.append({"id": chosen, "version": version, "at": rfc3339(self.at)})


def sources(api: HttpApi) -> dict[str, Any]:
    common = {
        "kind": "http",
        "type": "t",
        "records": "items",
        "id": "id",
        "time": "at",
        "network": LOOPBACK,
        "interval": 0.05,
        "batch": 5,
        "pagination": {"kind": "page"},
    }
    by_time = {"kind": "time", "parameter": "since", "overlap": 30}
    return {
        "time": common | {"url": api.url("/time"), "channel": "time", "changes": by_time},
        "snapshot": common | {"url": api.url("/snapshot"), "channel": "snapshot"},
    }


async def published(bus: Bus) -> dict[str, list[dict[str, Any]]]:
    """Return the events by channel."""
    bounds = await bus.bounds(OPTIONS.topics.publish)
    found: dict[str, list[dict[str, Any]]] = {"time": [], "snapshot": []}
    async with bus.reader(OPTIONS.topics.publish, {number: first for number, (first, _) in bounds.items()}) as reader:
        while any(reader.positions[number] < end for number, (_, end) in bounds.items()):
            for record in await reader.read(wait=1.0):
                event = json.loads(record.value or b"")
                found[event["channel"]].append(event)
    return found


def versions(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in events:
        found.setdefault(event["subject"], []).append(event["data"]["version"])
    return found


async def run_and_crash(replica: Program, upstream: Upstream) -> None:
    """Start, and crash at a failpoint or at a random time, while the lists change."""
    failpoint = upstream.rng.choice([*FAILPOINTS, None])
    replica.start(failpoint and f"{failpoint}:{upstream.rng.randrange(1, 8)}")
    loop = asyncio.get_running_loop()
    crash_at = loop.time() + (20 if failpoint else upstream.rng.uniform(0.5, 3))
    while (left := crash_at - loop.time()) > 0:
        upstream.change()
        with contextlib.suppress(TimeoutError):
            await replica.ended(min(left, 0.1))
            return
    replica.kill()


@pytest.mark.timeout(900)
async def test_every_version_that_stays_is_published_once(
    tmp_path: Path, migrated_database: DatabaseOptions, programs: list[Program], seed: int
) -> None:
    async with http_api() as api, connect(OPTIONS, migrated_database) as bus:
        upstream = Upstream(api, random.Random(seed))
        replica = program(tmp_path, migrated_database.url, OPTIONS, sources(api), node="only")
        programs.append(replica)
        await bus.ensure_topics(OPTIONS.topics.all())
        for _ in range(CRASHES):
            await run_and_crash(replica, upstream)
        replica.start()
        await replica.ready()
        try:
            async with asyncio.timeout(60):
                while not _complete(found := await published(bus), upstream):
                    await asyncio.sleep(0.2)
        except TimeoutError:
            pytest.fail(f"seed {seed}: not everything is published\n{replica.tail()}")
        assert await replica.stop() == 0, replica.tail()
        found = await published(bus)
    for name, events in found.items():
        ids = [event["id"] for event in events]
        assert len(set(ids)) == len(ids), f"seed {seed}, {name}"
        assert all(each == sorted(set(each)) for each in versions(events).values()), f"seed {seed}, {name}"


def _complete(found: dict[str, list[dict[str, Any]]], upstream: Upstream) -> bool:
    return all(
        {subject: each[-1] for subject, each in versions(found[name]).items()} == expected
        for name, expected in upstream.versions.items()
    )
