"""A divided pipeline is rewound by several operators at once while replicas are killed: each event counts once."""

import asyncio
import contextlib
import random
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest

from shared.bus.connect import BusOptions
from shared.bus.protocol import Bus
from tests.e2e.programs import Program
from tests.integration.services.process_api.test_crashes import bus_options
from tests.integration.services.process_api.test_repartition_crashes import (
    GROUPS,
    RepartitioningDeployment,
    outcome,
    reached,
)
from tests.servers.migrated import with_tables

__all__ = ["bus_options"]

TOTALS = {"window": {"tumbling": 86400}, "values": {"n": "count", "sum": {"sum": "n"}}}
FAILPOINTS = ["process.rewound", "bus.written", "bus.committed"]
REWIND = {"to": "beginning", "reset_state": True}


class RewoundDeployment(RepartitioningDeployment):
    """Events that are counted behind a `repartition`: one that comes again after a rewind would count twice."""

    failpoints: ClassVar = FAILPOINTS
    pipelines: ClassVar = {
        "totals": {
            "sources": ["numbers"],
            "channel": "totals",
            "steps": [{"repartition": "group"}, {"aggregate": TOTALS}],
        }
    }

    async def rewind(self, session: aiohttp.ClientSession, replica: Program) -> int:
        """Ask a replica for a rewind; return the status of its answer, 0 for none."""
        url = replica.ready_url.replace("/readyz", "/pipelines/totals/rewind")
        with contextlib.suppress(aiohttp.ClientError):
            async with session.post(url, json=REWIND) as answer:
                await answer.read()
                return answer.status
        return 0

    async def settled(self, session: aiohttp.ClientSession) -> None:
        """Wait until the newest rewind is done and no event waits: one that ends windows must be behind all others."""
        async with asyncio.timeout(240):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    url = self.replicas[0].ready_url.replace("/readyz", "/pipelines/totals")
                    async with session.get(url) as answer:
                        found = await answer.json()
                    if not found["unknown"] and found["rewind"]["state"] == "done" and found["lag"] == 0:
                        return
                await asyncio.sleep(0.2)

    async def rewound(self, session: aiohttp.ClientSession, failure: str, bus: Bus) -> bool:
        """Ask all replicas at once, twice, while events are written and one is killed; return whether one accepted."""
        rewinds = [self.rewind(session, replica) for replica in self.replicas for _ in range(2)]
        statuses, _ = await asyncio.gather(asyncio.gather(*rewinds), self.inject(failure, bus))
        known = {HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE, 0}
        assert set(statuses) <= known, statuses
        return HTTPStatus.ACCEPTED in statuses


@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.chaos)])
@pytest.mark.timeout(2400)
async def test_rewinds_at_once_and_kills_count_no_event_twice(
    tmp_path: Path, databases: Any, bus_options: BusOptions, rounds: int, seed: int
) -> None:
    async with databases.fresh(with_tables) as database:
        deployment = RewoundDeployment(tmp_path, database, bus_options, random.Random(seed))
        failures = ["kill", *FAILPOINTS]
        topics = bus_options.topics
        async with deployment.running() as bus, aiohttp.ClientSession() as session:
            await deployment.ready()
            await deployment.write(bus, 8)
            accepted = 0
            for _ in range(rounds):
                accepted += await deployment.rewound(session, deployment.rng.choice(failures), bus)
                await deployment.ready()
            async with asyncio.timeout(240):  # at the latest once nothing is in the way
                while not accepted:
                    accepted += await deployment.rewind(session, deployment.replicas[0]) == HTTPStatus.ACCEPTED
                    await asyncio.sleep(0.2)
            await deployment.settled(session)
            await deployment.end_windows(bus)
            await reached(bus, topics, 0, GROUPS)
            await deployment.stop()
            found = await outcome(bus, topics)
    assert deployment.last is not None
    totals = [(f"g{group}", range(group, deployment.last, GROUPS)) for group in range(GROUPS)]
    assert sorted(found.totals) == [(group, len(numbers), sum(numbers)) for group, numbers in totals]
