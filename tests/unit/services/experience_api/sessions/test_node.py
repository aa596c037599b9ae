import asyncio
from collections.abc import AsyncIterator

import pytest

from services.experience_api.refusals import UNAVAILABLE, Refused
from services.experience_api.registry.protocol import Node
from services.experience_api.sessions.node import NodeLease
from shared.errors import Unavailable
from shared.lease import Granted, Leases, MemoryLeaseStore, Taken
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks

PATIENCE = 10.0


class Hurried(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


class FlakyStore(MemoryLeaseStore):
    """Does not answer as long as `away`."""

    away = False

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        if self.away:
            raise Unavailable("the store is away")
        return await super().acquire(name, owner, ttl)


class Said:
    """What a node has reported."""

    def __init__(self) -> None:
        self.problems: list[str | None] = []
        self.losses = 0
        self._changed = asyncio.Event()

    def report(self, problem: str | None) -> None:
        self.problems.append(problem)
        self._changed.set()

    def lost(self) -> None:
        self.losses += 1

    async def until(self, *problems: str | None) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.problems[-len(problems) :] != list(problems):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore()


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks() as tasks:
        yield tasks


def node_on(store: FlakyStore, said: Said) -> NodeLease:
    clock = Hurried()
    return NodeLease(Leases(store, "one", clock=clock), "one", clock, said.report)


def refused(node: NodeLease) -> bool:
    try:
        node.current()
    except Refused as exc:
        return exc.refusal is UNAVAILABLE
    return False


async def test_a_node_is_alive_while_it_has_its_lease(store: FlakyStore, said: Said, tasks: Tasks) -> None:
    node = node_on(store, said)
    assert refused(node)
    tasks.keep("node", node.keep(said.lost))
    await said.until(None)
    assert node.current() == Node("one", 1)
    await tasks.cancel_all()
    assert refused(node)
    lease = store.peek("node/one")
    assert lease is not None
    assert lease[1] <= 0
    assert said.losses == 0


async def test_a_store_that_is_away_is_waited_for(store: FlakyStore, said: Said, tasks: Tasks) -> None:
    store.away = True
    node = node_on(store, said)
    tasks.keep("node", node.keep(said.lost))
    await said.until("the store is away")
    assert refused(node)
    store.away = False
    await said.until(None)
    assert node.current() == Node("one", 1)


async def test_a_lost_lease_is_told_and_taken_anew(store: FlakyStore, said: Said, tasks: Tasks) -> None:
    node = node_on(store, said)
    tasks.keep("node", node.keep(said.lost))
    await said.until(None)
    twin = await store.acquire("node/one", "one", 600)
    assert isinstance(twin, Granted)
    await said.until("the lease of this replica is lost")
    assert said.losses == 1
    assert refused(node)
    await store.release("node/one", "one", twin.epoch)
    await said.until(None)
    assert node.current() == Node("one", 3)
