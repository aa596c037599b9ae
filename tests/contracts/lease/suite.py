"""The guarantees of every lease store; an implementation inherits them and provides `deployment`."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from shared.lease import Granted, LeaseStore, Taken

LONG = 600.0
SHORT = 0.2
TIMEOUT = 60.0


class Deployment(Protocol):
    """One store of leases."""

    def connect(self) -> AbstractAsyncContextManager[LeaseStore]:
        """Connect as another replica."""
        ...


async def granted(store: LeaseStore, name: str, owner: str, ttl: float = LONG) -> int:
    """Take a lease that must be free, and return its epoch."""
    answer = await store.acquire(name, owner, ttl)
    assert isinstance(answer, Granted)
    return answer.epoch


async def once_free(store: LeaseStore, name: str, owner: str) -> int:
    """Take a lease as soon as it has expired, and return its epoch."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            answer = await store.acquire(name, owner, LONG)
            if isinstance(answer, Granted):
                return answer.epoch
            await asyncio.sleep(answer.expires_in)


class LeaseStoreContract:
    @pytest.fixture
    async def deployment(self) -> Deployment:
        """Provide the implementation."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, deployment: Deployment) -> AsyncIterator[LeaseStore]:
        """One connection."""
        async with deployment.connect() as store:
            yield store

    @pytest.fixture
    def name(self) -> str:
        return f"source/{uuid.uuid4().hex[:8]}"

    async def test_a_lease_that_is_held_is_taken(self, store: LeaseStore, name: str) -> None:
        await granted(store, name, "a")
        answer = await store.acquire(name, "b", LONG)
        assert isinstance(answer, Taken)
        assert LONG - TIMEOUT < answer.expires_in <= LONG

    async def test_other_names_are_other_leases(self, store: LeaseStore, name: str) -> None:
        await granted(store, name, "a")
        await granted(store, name + "/2", "b")

    async def test_of_many_attempts_at_once_one_succeeds(self, deployment: Deployment, name: str) -> None:
        async with deployment.connect() as left, deployment.connect() as right:
            stores = [left, right] * 10
            answers = await asyncio.gather(
                *(store.acquire(name, f"{number}", LONG) for number, store in enumerate(stores))
            )
        assert [type(answer) for answer in answers].count(Granted) == 1

    async def test_a_lease_that_expired_is_free_and_its_epoch_grows(self, store: LeaseStore, name: str) -> None:
        first = await granted(store, name, "a", SHORT)
        assert await once_free(store, name, "b") > first

    async def test_a_renewed_lease_does_not_expire(self, store: LeaseStore, name: str) -> None:
        epoch = await granted(store, name, "a", LONG / 4)
        assert await store.renew(name, "a", epoch, LONG)
        answer = await store.acquire(name, "b", LONG)
        assert isinstance(answer, Taken)
        assert answer.expires_in > LONG / 2

    async def test_an_expired_lease_is_not_renewed(self, store: LeaseStore, name: str) -> None:
        epoch = await granted(store, name, "a", SHORT)
        await asyncio.sleep(SHORT * 1.5)  # an expiry sets no event
        assert not await store.renew(name, "a", epoch, LONG)

    async def test_a_lease_of_another_or_of_an_earlier_epoch_is_not_renewed(self, store: LeaseStore, name: str) -> None:
        epoch = await granted(store, name, "a")
        assert not await store.renew(name, "b", epoch, LONG)
        assert not await store.renew(name, "a", epoch + 1, LONG)
        assert await granted(store, name, "a") > epoch
        assert not await store.renew(name, "a", epoch, LONG)

    async def test_an_expired_lease_that_nobody_else_took_is_revived(self, store: LeaseStore, name: str) -> None:
        epoch = await granted(store, name, "a", SHORT)
        await asyncio.sleep(SHORT * 1.5)
        assert await store.revive(name, "a", epoch, LONG)
        assert isinstance(await store.acquire(name, "b", LONG), Taken)
        assert await store.renew(name, "a", epoch, LONG)
        assert await store.revive(name, "a", epoch, LONG)

    async def test_a_lease_that_another_owner_or_epoch_has_had_is_not_revived(
        self, store: LeaseStore, name: str
    ) -> None:
        first = await granted(store, name, "a", SHORT)
        second = await once_free(store, name, "b")
        assert not await store.revive(name, "a", first, LONG)
        await store.release(name, "b", second)
        assert not await store.revive(name, "a", first, LONG)
        assert not await store.revive(name, "a", second, LONG)
        assert await granted(store, name, "b") > second
        assert not await store.revive(name, "b", second, LONG)
        assert not await store.revive(name + "/2", "a", 1, LONG)

    async def test_a_lease_that_was_never_taken_is_not_renewed(self, store: LeaseStore, name: str) -> None:
        assert not await store.renew(name, "a", 1, LONG)

    async def test_an_owner_gets_its_own_lease_again_at_once(self, store: LeaseStore, name: str) -> None:
        first = await granted(store, name, "a")
        assert await granted(store, name, "a") > first

    async def test_a_released_lease_is_free_and_its_epoch_increases(self, store: LeaseStore, name: str) -> None:
        first = await granted(store, name, "a")
        await store.release(name, "a", first)
        assert not await store.renew(name, "a", first, LONG)
        assert await granted(store, name, "b") > first

    async def test_only_its_owner_releases_a_lease(self, store: LeaseStore, name: str) -> None:
        first = await granted(store, name, "a")
        second = await granted(store, name, "a")
        await store.release(name, "b", second)
        await store.release(name, "a", first)
        assert isinstance(await store.acquire(name, "b", LONG), Taken)

    async def test_the_leases_that_are_held_are_listed_by_prefix(self, store: LeaseStore, name: str) -> None:
        epochs = {each: await granted(store, each, "a") for each in (f"{name}/2", f"{name}/1", f"{name}%/1")}
        await store.release(f"{name}/2", "a", epochs[f"{name}/2"])
        await granted(store, f"{name}/3", "b", SHORT)
        epochs[f"{name}/3"] = await once_free(store, f"{name}/3", "c")
        found = await store.held(f"{name}/")
        assert [(held.name, held.owner, held.epoch) for held in found] == [
            (f"{name}/1", "a", epochs[f"{name}/1"]),
            (f"{name}/3", "c", epochs[f"{name}/3"]),
        ]
        assert all(LONG - TIMEOUT < held.expires_in <= LONG for held in found)

    async def test_watchers_of_a_prefix_are_notified(self, deployment: Deployment, name: str) -> None:
        async with deployment.connect() as owner, deployment.connect() as waiting:
            with waiting.watch(f"{name}/") as released, waiting.watch(f"{name}/1/") as other:
                async with asyncio.timeout(TIMEOUT):
                    while not released.is_set():
                        await owner.release(f"{name}/1", "a", await granted(owner, f"{name}/1", "a"))
                        await asyncio.sleep(SHORT)
                released.clear()
                other.clear()
                await owner.release(f"{name}/1", "a", await granted(owner, f"{name}/1", "a"))
                await asyncio.wait_for(released.wait(), TIMEOUT)
                assert not other.is_set()

    async def test_watchers_are_notified_of_a_release(self, deployment: Deployment, name: str) -> None:
        async with deployment.connect() as owner, deployment.connect() as waiting:
            with waiting.watch(name) as released, waiting.watch(name + "/2") as other:
                # Notifications may be missed while the other replica is still connecting.
                async with asyncio.timeout(TIMEOUT):
                    while not released.is_set():
                        await owner.release(name, "a", await granted(owner, name, "a"))
                        await asyncio.sleep(SHORT)
                released.clear()
                other.clear()
                await owner.release(name, "a", await granted(owner, name, "a"))
                await asyncio.wait_for(released.wait(), TIMEOUT)
                assert not other.is_set()
