"""Holding leases whose store can fail."""

import asyncio
import logging

import pytest

from shared.errors import Unavailable
from shared.lease import Granted, Lease, Leases, MemoryLeaseStore, Taken
from tests.unit.skipping_loop import LoopClock

TIMEOUT = 60.0
TTL = 6.0


class FailingStore(MemoryLeaseStore):
    """Leases in memory, in a store that can be unavailable or not answer."""

    def __init__(self) -> None:
        super().__init__(LoopClock())
        self.unavailable = False
        self.answering = asyncio.Event()
        self.answering.set()
        self.renewed = asyncio.Event()

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        await self._answer()
        return await super().acquire(name, owner, ttl)

    async def renew(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        await self._answer()
        self.renewed.set()
        return await super().renew(name, owner, epoch, ttl)

    async def revive(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        await self._answer()
        return await super().revive(name, owner, epoch, ttl)

    async def another_renewal(self) -> None:
        self.renewed.clear()
        await asyncio.wait_for(self.renewed.wait(), TIMEOUT)

    async def release(self, name: str, owner: str, epoch: int) -> None:
        await self._answer()
        await super().release(name, owner, epoch)

    async def _answer(self) -> None:
        if self.unavailable:
            raise Unavailable("the store is unavailable")
        await self.answering.wait()


class SlowClock(LoopClock):
    """A clock that can jump, as if the process was stopped for a while."""

    def __init__(self) -> None:
        self.stopped_for = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.stopped_for


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


def of(store: FailingStore, owner: str, clock: LoopClock | None = None) -> Leases:
    return Leases(store, owner, ttl=TTL, clock=clock or LoopClock())


async def is_lost(lease: Lease) -> None:
    await asyncio.wait_for(lease.lost(), TIMEOUT)
    assert not lease.held


async def test_a_lease_outlives_its_ttl_while_it_is_held(store: FailingStore) -> None:
    async with of(store, "a").hold("s") as lease:
        for _ in range(5):
            await store.another_renewal()
            assert lease.held
            assert isinstance(await store.acquire("s", "b", TTL), Taken)


async def test_leaving_releases_it_to_a_waiting_owner_at_once(store: FailingStore) -> None:
    async def wait_for_it() -> int:
        async with of(store, "b").hold("s") as lease:
            return lease.epoch

    async with of(store, "a").hold("s") as lease:
        waiting = asyncio.create_task(wait_for_it())
        await asyncio.sleep(TTL / 2)
        assert not waiting.done()
    left = asyncio.get_running_loop().time()
    assert await asyncio.wait_for(waiting, TIMEOUT) > lease.epoch
    assert asyncio.get_running_loop().time() == left
    assert not lease.held


async def test_the_lease_of_a_dead_owner_moves_when_it_expires(store: FailingStore) -> None:
    assert isinstance(await store.acquire("s", "dead", TTL), Granted)
    async with asyncio.timeout(TIMEOUT), of(store, "b").hold("s") as lease:
        assert lease.epoch == 2
        assert asyncio.get_running_loop().time() == pytest.approx(TTL, abs=0.1)


async def test_a_lease_that_another_process_took_is_lost(store: FailingStore, caplog: pytest.LogCaptureFixture) -> None:
    async with of(store, "a").hold("s") as lease:
        # What the same owner does after a restart.
        assert isinstance(await store.acquire("s", "a", TIMEOUT), Granted)
        await is_lost(lease)
    [line] = caplog.records
    assert (line.getMessage(), line.__dict__["lease"]) == ("lost lease", "s")
    assert line.__dict__["reason"] == "expired, or taken by another owner"
    # Leaving has not released the lease of the newer process.
    assert isinstance(await store.acquire("s", "b", TTL), Taken)


async def test_a_short_outage_loses_nothing(store: FailingStore) -> None:
    async with of(store, "a").hold("s") as lease:
        store.unavailable = True
        await asyncio.sleep(TTL / 3 + TTL / 6)
        store.unavailable = False
        for _ in range(2):
            await store.another_renewal()
        assert lease.held


@pytest.mark.parametrize("silent", [False, True])
async def test_a_lease_is_lost_before_another_owner_can_have_it(store: FailingStore, silent: bool) -> None:
    async with of(store, "a").hold("s") as lease:
        store.unavailable = not silent
        store.answering.clear()
        await is_lost(lease)
        store.unavailable = False
        store.answering.set()
        assert isinstance(await store.acquire("s", "b", TTL), Taken)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_lease_that_may_lapse_is_revived_after_an_outage(
    store: FailingStore, silent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    lapses: asyncio.Queue[bool] = asyncio.Queue()
    async with of(store, "a").hold("s", lambda lease: lapses.put_nowait(lease.held)) as lease:
        store.unavailable = not silent
        store.answering.clear()
        assert await lapses.get() is False
        assert not lease.held
        await asyncio.sleep(5 * TTL)
        assert not lease.held
        store.unavailable = False
        store.answering.set()
        with caplog.at_level(logging.INFO):
            assert await lapses.get() is True
        assert lease.held
        assert isinstance(await store.acquire("s", "b", TTL), Taken)
        await store.another_renewal()
        assert lease.held
    assert [line.getMessage() for line in caplog.records] == [
        "lease lapsed; waiting for the lease store",
        "acquired lease again",
    ]
    assert isinstance(await store.acquire("s", "b", TTL), Granted)


async def test_a_lapsed_lease_that_another_owner_took_is_lost(store: FailingStore) -> None:
    lapses: list[bool] = []
    async with of(store, "a").hold("s", lambda lease: lapses.append(lease.held)) as lease:
        store.unavailable = True
        await asyncio.sleep(2 * TTL)
        assert isinstance(await MemoryLeaseStore.acquire(store, "s", "b", TTL), Granted)
        store.unavailable = False
        await is_lost(lease)
        assert lapses == [False]


async def test_a_lease_that_may_lapse_and_another_process_took_is_lost(store: FailingStore) -> None:
    lapses: list[bool] = []
    async with of(store, "a").hold("s", lambda lease: lapses.append(lease.held)) as lease:
        assert isinstance(await store.acquire("s", "a", TIMEOUT), Granted)
        await is_lost(lease)
        assert lapses == [False]


async def test_a_process_that_was_stopped_knows_at_once_that_its_lease_is_lost(store: FailingStore) -> None:
    clock = SlowClock()
    async with of(store, "a", clock).hold("s") as lease:
        assert lease.held
        clock.stopped_for += TTL
        assert not lease.held
        await is_lost(lease)


async def test_waiting_ends_when_the_store_is_unavailable(store: FailingStore) -> None:
    assert isinstance(await store.acquire("s", "b", TTL), Granted)
    store.unavailable = True
    with pytest.raises(Unavailable):
        async with of(store, "a").hold("s"):
            pytest.fail("another owner has it")


async def test_a_lease_that_cannot_be_released_expires(store: FailingStore, caplog: pytest.LogCaptureFixture) -> None:
    async with of(store, "a").hold("s"):
        store.unavailable = True
    [line] = caplog.records
    assert line.getMessage() == "could not release lease; it will expire"
    assert line.__dict__.items() >= {"lease": "s", "error": "the store is unavailable", "after_s": TTL}.items()


async def test_an_error_of_the_body_is_raised_and_the_lease_is_released(store: FailingStore) -> None:
    with pytest.raises(ZeroDivisionError):
        async with of(store, "a").hold("s"):
            raise ZeroDivisionError
    assert isinstance(await store.acquire("s", "b", TTL), Granted)


async def test_a_process_that_was_displaced_waits_for_the_end_of_the_newer_one(
    store: FailingStore, caplog: pytest.LogCaptureFixture
) -> None:
    older, newer = of(store, "a"), of(store, "a")
    async with older.hold("s") as lease, newer.hold("s") as taken:
        await is_lost(lease)
        waiting = asyncio.create_task(older.hold("s").__aenter__())
        for _ in range(4):
            await store.another_renewal()
        assert taken.held
        assert not waiting.done()
        waiting.cancel()
    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(TIMEOUT), older.hold("s") as again:
            assert again.epoch > taken.epoch
    assert [line.getMessage() for line in caplog.records] == ["lost lease", "acquired lease again"]
    assert caplog.records[1].__dict__["after_s"] > 0
