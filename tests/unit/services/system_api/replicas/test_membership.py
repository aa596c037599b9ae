"""Replicas that share sources, with leases in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from services.system_api.replicas.membership import Replicas, Turn
from shared.lease import Granted, Leases, MemoryLeaseStore
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks

SOURCES = [f"s{number}" for number in range(6)]


class SteppedClock(SystemClock):
    """Time that passes only when told to; sleeps are short."""

    at = 100.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


class Replica:
    """One replica, whose pollers take the leases of the sources that are its turn."""

    def __init__(self, node: str, store: MemoryLeaseStore, clock: SystemClock) -> None:
        self.node = node
        self.problem: str | None = None
        self._store = store
        leases = Leases(store, node)
        self.replicas = Replicas(node, SOURCES, store, leases, lambda: self.problem, clock)

    async def _poll(self, source: str) -> None:
        turn = self.replicas.turn(source)
        while True:
            await turn.granted()
            answer = await self._store.acquire(f"source/{source}", self.node, 3600)
            if isinstance(answer, Granted):
                try:
                    await turn.revoked()
                finally:
                    await self._store.release(f"source/{source}", self.node, answer.epoch)
            await asyncio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        async with Tasks() as tasks:
            for source in SOURCES:
                tasks.keep(source, self._poll(source))
            tasks.keep("replicas", self.replicas.run())
            yield self


async def spread(store: MemoryLeaseStore, counts: dict[str, int]) -> None:
    """Wait until each replica owns so many sources."""
    found: dict[str, int] = {}
    async with asyncio.timeout(60):
        while found != counts:
            await asyncio.sleep(0.005)
            owners = [held.owner for held in await store.held("source/")]
            found = {owner: owners.count(owner) for owner in set(owners)}


async def test_sources_are_spread_when_replicas_join_and_leave() -> None:
    store, clock = MemoryLeaseStore(), SteppedClock()
    async with Replica("a", store, clock).running():
        await spread(store, {"a": 6})
        async with Replica("b", store, clock).running():
            await spread(store, {"a": 3, "b": 3})
            async with Replica("c", store, clock).running():
                await spread(store, {"a": 2, "b": 2, "c": 2})
            await spread(store, {"a": 3, "b": 3})
        await spread(store, {"a": 6})


async def test_a_replica_whose_bus_does_not_work_leaves_its_sources_and_comes_back() -> None:
    store, clock = MemoryLeaseStore(), SteppedClock()
    async with Replica("a", store, clock).running() as a, Replica("b", store, clock).running():
        await spread(store, {"a": 3, "b": 3})
        a.problem = "connection refused"
        await asyncio.sleep(0.05)
        await spread(store, {"a": 3, "b": 3})
        clock.at += 21.0
        await spread(store, {"b": 6})
        a.problem = None
        await spread(store, {"a": 3, "b": 3})


async def test_a_turn_can_be_waited_for() -> None:
    turn = Turn()
    assert not turn.mine
    await asyncio.wait_for(turn.revoked(), 1)
    turn.set(granted=True)
    assert turn.mine
    await asyncio.wait_for(turn.granted(), 1)
