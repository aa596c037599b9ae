"""The guarantees of every store of source operations; an implementation inherits them and provides `connect`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from services.system_api.operations.requests import Command, Outcome
from services.system_api.operations.store import SharedStatus, SourceStore

TIMEOUT = 60.0
CLOCKS_APART = 1000.0
"""Milliseconds that the clock of the store may be behind."""


class Deployment(Protocol):
    """One store of operations."""

    def connect(self) -> AbstractAsyncContextManager[SourceStore]:
        """Connect as another replica."""
        ...


class SourceStoreContract:
    @pytest.fixture
    async def deployment(self) -> Deployment:
        """Provide the implementation."""
        raise NotImplementedError

    @pytest.fixture
    async def store(self, deployment: Deployment) -> AsyncIterator[SourceStore]:
        """One connection."""
        async with deployment.connect() as store:
            yield store

    async def test_nothing_is_asked_at_first(self, store: SourceStore) -> None:
        assert await store.controls() == {}
        assert await store.statuses() == {}

    async def test_a_pause_lasts_until_it_is_resumed(self, deployment: Deployment, store: SourceStore) -> None:
        control = await store.pause("orders", "oncall", "maintenance")
        assert (control.paused, control.by, control.reason) == (True, "oncall", "maintenance")
        assert control.at is not None
        async with deployment.connect() as other:
            assert await other.controls() == {"orders": control}
            resumed = await other.resume("orders", "alice")
        assert (resumed.paused, resumed.by, resumed.reason) == (False, "alice", "")
        assert await store.controls() == {"orders": resumed}

    async def test_every_request_for_a_poll_counts(self, deployment: Deployment, store: SourceStore) -> None:
        async with deployment.connect() as other:
            await asyncio.gather(*(each.poll("orders") for each in [store, other] * 5))
        assert (await store.controls())["orders"].polls == 10

    async def test_requests_have_growing_generations(self, deployment: Deployment, store: SourceStore) -> None:
        async with deployment.connect() as other:
            asked = [each.request("orders", Command.REWIND, '"beginning"', "oncall") for each in [store, other] * 5]
            found = await asyncio.gather(*asked)
        generations = [control.request.generation for control in found if control.request is not None]
        assert len(set(generations)) == 10
        request = (await store.controls())["orders"].pending
        assert request is not None
        assert (request.generation, request.command, request.place, request.by) == (
            max(generations),
            Command.REWIND,
            '"beginning"',
            "oncall",
        )

    async def test_a_generation_is_above_those_of_a_store_that_was_lost(
        self, deployment: Deployment, store: SourceStore
    ) -> None:
        before = time.time() * 1000 - CLOCKS_APART
        async with deployment.connect() as other:
            for each in (store, other):
                request = (await each.request("orders", Command.SNAPSHOT, None, "oncall")).request
                assert request is not None
                assert request.generation > before
                before = request.generation

    async def test_an_outcome_ends_its_request_and_no_newer_one(self, store: SourceStore) -> None:
        first = (await store.request("orders", Command.REWIND, '"end"', "a")).request
        second = (await store.request("orders", Command.SNAPSHOT, None, "b")).request
        assert first is not None
        assert second is not None
        await store.settle("orders", Outcome(first.generation, None, {"from": {"": "1"}}, 0.0))
        control = (await store.controls())["orders"]
        assert control.pending == second
        await store.settle("orders", Outcome(second.generation, "no snapshots", {}, 0.0))
        control = (await store.controls())["orders"]
        assert control.pending is None
        assert control.outcome is not None
        assert (control.outcome.error, control.outcome.result) == ("no snapshots", {})
        await store.settle("orders", Outcome(first.generation, "late", {}, 0.0))
        assert (await store.controls())["orders"].outcome == control.outcome

    async def test_what_is_asked_of_one_source_changes_no_other(self, store: SourceStore) -> None:
        await store.pause("orders", "a", "")
        await store.poll("rates")
        found = await store.controls()
        assert (found["orders"].paused, found["orders"].polls) == (True, 0)
        assert (found["rates"].paused, found["rates"].polls) == (False, 1)

    async def test_a_status_of_an_older_epoch_does_not_replace_a_newer_one(
        self, deployment: Deployment, store: SourceStore
    ) -> None:
        await store.publish([status("orders", 3, node="old"), status("rates", 1)])
        async with deployment.connect() as other:
            await other.publish([status("orders", 4, "starting", node="new")])
        await store.publish([status("orders", 3, "down", node="old"), status("rates", 1, "down")])
        found = await store.statuses()
        assert found["orders"].status["state"] == "starting"
        assert (found["orders"].node, found["orders"].epoch) == ("new", 4)
        assert found["rates"].status["state"] == "down", "the same owner goes on"
        assert found["rates"].at > 0
        assert await store.status("orders") == found["orders"]
        assert await store.status("other") is None

    async def test_the_counts_of_the_current_hour_are_those_that_were_published_last(self, store: SourceStore) -> None:
        await store.publish([status("orders", 3, rows=5), status("rates", 3, rows=1)])
        await store.publish([status("orders", 3, rows=9)])
        await store.publish([status("orders", 2, rows=7)])
        windows = await store.windows("orders", 0.0)
        assert windows[-1].totals == {"rows": 9, "published": 9, "rejected": 0, "skipped": 0}
        assert windows[-1].began_at % 3600 == 0
        assert await store.windows("orders", windows[-1].began_at + 3600) == [windows[-1]], "the last one before"
        await store.forget_windows(windows[-1].began_at)
        assert len(await store.windows("orders", 0.0)) == 1
        await store.forget_windows(windows[-1].began_at + 1)
        assert await store.windows("orders", 0.0) == []

    async def test_replicas_that_publish_at_once_do_not_wait_for_each_other(self, deployment: Deployment) -> None:
        many = [status(f"s{number}", 1) for number in range(50)]
        async with deployment.connect() as left, deployment.connect() as right, asyncio.timeout(TIMEOUT):
            publishing = [each.publish(order) for each, order in [(left, many), (right, many[::-1])] * 5]
            await asyncio.gather(*publishing)
            assert len(await left.statuses()) == 50

    async def test_watchers_are_notified_of_every_change(self, deployment: Deployment) -> None:
        async with deployment.connect() as asking, deployment.connect() as watching:
            with watching.watch() as changed:
                # Notifications may be missed while the other replica is still connecting.
                async with asyncio.timeout(TIMEOUT):
                    while not changed.is_set():
                        await asking.poll("orders")
                        await asyncio.sleep(0.1)
                for change in (
                    asking.pause("orders", "a", ""),
                    asking.resume("orders", "a"),
                    asking.request("orders", Command.SNAPSHOT, None, "a"),
                    asking.settle("orders", Outcome(1, None, {}, 0.0)),
                ):
                    await asyncio.sleep(0.05)
                    changed.clear()
                    await change
                    await asyncio.wait_for(changed.wait(), TIMEOUT)


def status(source: str, epoch: int, state: str = "running", node: str = "n", rows: int = 0) -> SharedStatus:
    counts = {"rows": rows, "published": rows, "rejected": 0, "skipped": 0}
    return SharedStatus(source, node, epoch, {"state": state, "counts": counts})
