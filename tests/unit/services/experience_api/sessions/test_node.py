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

TIMEOUT = 60.0


class FastClock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


class FlakyStore(MemoryLeaseStore):
    """Is unavailable while `unavailable`."""

    unavailable = False

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        self._check()
        return await super().acquire(name, owner, ttl)

    async def renew(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        self._check()
        return await super().renew(name, owner, epoch, ttl)

    async def revive(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        self._check()
        return await super().revive(name, owner, epoch, ttl)

    def _check(self) -> None:
        if self.unavailable:
            raise Unavailable("the store is unavailable")


class Reports:
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
        async with asyncio.timeout(TIMEOUT):
            while self.problems[-len(problems) :] != list(problems):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def store() -> FlakyStore:
    return FlakyStore()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    async with Tasks() as tasks:
        yield tasks


def node_on(store: FlakyStore, reports: Reports) -> NodeLease:
    clock = FastClock()
    return NodeLease(Leases(store, "one", clock=clock), "one", clock, reports.report)


def refused(node: NodeLease) -> bool:
    try:
        node.current()
    except Refused as exc:
        return exc.refusal is UNAVAILABLE
    return False


async def test_a_node_is_alive_while_it_holds_its_lease(store: FlakyStore, reports: Reports, tasks: Tasks) -> None:
    node = node_on(store, reports)
    assert refused(node)
    tasks.keep("node", node.run(reports.lost))
    await reports.until(None)
    assert node.current() == Node("one", 1)
    await tasks.cancel_all()
    assert refused(node)
    lease = store.peek("node/one")
    assert lease is not None
    assert lease[1] <= 0
    assert reports.losses == 0


async def test_a_node_waits_for_an_unavailable_store(store: FlakyStore, reports: Reports, tasks: Tasks) -> None:
    store.unavailable = True
    node = node_on(store, reports)
    tasks.keep("node", node.run(reports.lost))
    await reports.until("the store is unavailable")
    assert refused(node)
    store.unavailable = False
    await reports.until(None)
    assert node.current() == Node("one", 1)


async def test_a_lost_lease_is_reported_and_acquired_again(store: FlakyStore, reports: Reports, tasks: Tasks) -> None:
    node = node_on(store, reports)
    tasks.keep("node", node.run(reports.lost))
    await reports.until(None)
    twin = await store.acquire("node/one", "one", 600)
    assert isinstance(twin, Granted)
    await reports.until("the lease of this replica is lost")
    assert reports.losses == 1
    assert refused(node)
    await store.release("node/one", "one", twin.epoch)
    await reports.until(None)
    assert node.current() == Node("one", 3)


async def test_a_node_that_cannot_reach_the_database_keeps_its_claims_and_is_revived_under_its_epoch(
    store: FlakyStore, reports: Reports, tasks: Tasks
) -> None:
    clock = FastClock()
    node = NodeLease(Leases(store, "one", ttl=0.2, clock=clock), "one", clock, reports.report)
    revived = asyncio.Event()
    tasks.keep("node", node.run(reports.lost, revived.set))
    await reports.until(None)
    store.unavailable = True
    await reports.until("the lease of this replica has lapsed: the database does not answer")
    assert refused(node)
    assert not revived.is_set()
    store.unavailable = False
    await reports.until(None)
    assert revived.is_set()
    assert node.current() == Node("one", 1)
    assert reports.losses == 0
