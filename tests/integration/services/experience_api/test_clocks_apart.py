"""Two replicas whose clocks are minutes apart: what one begins, the other continues, by the clock of the database."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import permutations

from shared.runtime.clock import SystemClock
from tests.integration.services.experience_api.replicas import Deployment, Replica
from tests.integration.services.experience_api.test_since import WAYS, numbers, received

MINUTES = 300.0


class WrongClock(SystemClock):
    """Is ahead of the clock of the database by some seconds."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def time(self) -> float:
        return super().time() + self.ahead


@asynccontextmanager
async def apart(deployment: Deployment) -> AsyncIterator[list[Replica]]:
    """Two replicas with wrong clocks, and one whose clock is right."""
    async with (
        deployment.replica(clock=WrongClock(MINUTES), node="ahead") as ahead,
        deployment.replica(clock=WrongClock(-MINUTES), node="behind") as behind,
        deployment.replica() as right,
    ):
        yield [ahead, behind, right]


async def test_a_ticket_of_one_replica_connects_on_every_other_once_and_expires(deployment: Deployment) -> None:
    async with apart(deployment) as replicas, deployment.sql() as database:
        token = await replicas[0].register()
        for issuer, other in permutations(replicas, 2):
            bearer = {"Authorization": f"Bearer {token}"}
            tickets = [(await issuer.request("POST", "/tickets", bearer)).json["ticket"] for _ in range(2)]
            async with other.connect(path=f"/ws/publish?ticket={tickets[0]}") as subscription:
                assert (await subscription.next())["type"] == "trelay.connected"
            await deployment.until_no_connection()
            refused = await issuer.upgrade(query=f"?ticket={tickets[0]}")
            assert (refused.status, refused.code) == (401, "ticket-refused")
        assert await database.fetchval("SELECT count(*) FROM trelay.used_tickets") == len([*permutations(replicas, 2)])


async def test_a_history_begins_so_long_ago_on_every_replica(deployment: Deployment) -> None:
    async with apart(deployment) as replicas:
        token = await replicas[0].register()
        await replicas[0].push("orders", 1, 2, 3)
        for replica in replicas:
            for path in WAYS:
                assert numbers(await received(replica, token, path, "since=2m", 3)) == [1, 2, 3]
                await deployment.until_no_connection()


async def test_events_have_the_time_of_the_database(deployment: Deployment) -> None:
    async with apart(deployment) as replicas:
        token = await replicas[0].register()
        began = time.time()
        for replica in replicas:
            await replica.push("orders", 1)
        for event in await received(replicas[1], token, "/events", "since=2m", 3):
            assert began - 5 < datetime.fromisoformat(event["time"]).timestamp() < time.time() + 5


async def test_a_clock_that_differs_is_reported_until_it_agrees(deployment: Deployment) -> None:
    clock = WrongClock(MINUTES)
    async with deployment.replica(clock=clock, node="ahead") as replica:
        assert ("clock", "ahead") in replica.alerts.open
        found = replica.health.registry.get_sample_value("trelay_clock_difference_seconds")
        assert found is not None
        assert abs(found - MINUTES) < 5
    async with deployment.replica() as replica:
        assert replica.alerts.open == set()
