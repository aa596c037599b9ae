"""What every inbox of webhooks promises; each implementation inherits these tests and provides a `deployment`."""

import asyncio
import contextlib
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Limits, Outcome
from services.system_api.sources.http.webhook.inbox.protocol import Inbox

LIMITS = Limits(rows=100, bytes=10_000)
STORED, REPEATED, FULL = Outcome.STORED, Outcome.REPEATED, Outcome.FULL
SOURCE = "orders"


class Deployment(Protocol):
    """One inbox; each connection is that of a replica."""

    def connect(self) -> AbstractAsyncContextManager[Inbox]: ...


def deliveries(*ids: str | None) -> list[Delivery]:
    return [Delivery(identity, f"body of {identity}".encode()) for identity in ids]


async def waiting(inbox: Inbox, after: int = 0) -> list[tuple[int, str | None]]:
    found = await inbox.read(SOURCE, after, 1000, 1 << 20)
    return [(each.position, each.delivery.id) for each in found]


class InboxContract:
    """The promises of `Inbox`."""

    async def test_keeps_deliveries_as_they_came_in_order(self, deployment: Deployment) -> None:
        given = Delivery("a", b"\x00\xff{}", "application/json", {"X-GitHub-Event": "push"})
        async with deployment.connect() as inbox:
            assert await inbox.store(SOURCE, [given, *deliveries("b")], LIMITS) == [STORED, STORED]
            assert await inbox.store("other", deliveries("a"), LIMITS) == [STORED]
        async with deployment.connect() as inbox:
            found = await inbox.read(SOURCE, 0, 10, 1000)
            assert [(each.position, each.delivery) for each in found] == [(1, given), (2, *deliveries("b"))]
            assert found[0].received_at > 1_000_000_000
            assert await waiting(inbox, after=1) == [(2, "b")]

    async def test_stores_what_is_repeated_once_also_after_it_was_removed(self, deployment: Deployment) -> None:
        async with deployment.connect() as inbox:
            assert await inbox.store(SOURCE, deliveries("a", "a", "b"), LIMITS) == [STORED, REPEATED, STORED]
            assert await inbox.store(SOURCE, deliveries("b", "c"), LIMITS) == [REPEATED, STORED]
            await inbox.remove(SOURCE, 3)
            assert await inbox.store(SOURCE, deliveries("a", "d"), LIMITS) == [REPEATED, STORED]
            assert await waiting(inbox) == [(4, "d")]

    async def test_what_has_no_id_is_never_a_repeat(self, deployment: Deployment) -> None:
        async with deployment.connect() as inbox:
            assert await inbox.store(SOURCE, deliveries(None, None), LIMITS) == [STORED, STORED]
            assert (await inbox.fill(SOURCE)).ids == 0

    async def test_replicas_that_store_at_once_leave_no_gap_and_store_each_once(self, deployment: Deployment) -> None:
        async with deployment.connect() as one, deployment.connect() as two:
            names = [f"d{number}" for number in range(20)]
            calls = [
                inbox.store(SOURCE, deliveries(*names[first : first + 4]), LIMITS)
                for first in range(0, 20, 2)
                for inbox in (one, two)
            ]
            outcomes = [outcome for found in await asyncio.gather(*calls) for outcome in found]
            assert outcomes.count(STORED) == 20
            found = await waiting(one)
            assert [position for position, _ in found] == list(range(1, 21))
            assert sorted(name or "" for _, name in found) == sorted(names)

    async def test_reads_a_bounded_part(self, deployment: Deployment) -> None:
        async with deployment.connect() as inbox:
            await inbox.store(SOURCE, [Delivery(str(number), b"x" * 100) for number in range(5)], LIMITS)
            assert len(await inbox.read(SOURCE, 0, 2, 1000)) == 2
            assert len(await inbox.read(SOURCE, 0, 10, 250)) == 3
            assert len(await inbox.read(SOURCE, 0, 10, 1)) == 1

    async def test_refuses_what_exceeds_its_limits_and_stores_it_later(self, deployment: Deployment) -> None:
        async with deployment.connect() as inbox:
            limits = Limits(rows=2, bytes=1000)
            assert await inbox.store(SOURCE, deliveries("a", "b", "c", "a"), limits) == [STORED, STORED, FULL, REPEATED]
            await inbox.remove(SOURCE, 1)
            assert await inbox.store(SOURCE, deliveries("c", "d"), limits) == [STORED, FULL]
            by_bytes = Limits(rows=100, bytes=30)
            await inbox.remove(SOURCE, 3)
            given = [Delivery(name, b"x" * 20) for name in ("e", "f", "g")]
            assert await inbox.store(SOURCE, given, by_bytes) == [STORED, STORED, FULL]

    async def test_tells_how_much_it_holds(self, deployment: Deployment) -> None:
        async with deployment.connect() as inbox:
            empty = await inbox.fill(SOURCE)
            assert (empty.position, empty.rows, empty.bytes, empty.ids) == (0, 0, 0, 0)
            await inbox.store(SOURCE, deliveries("a", "b"), LIMITS)
            await inbox.remove(SOURCE, 1)
            fill = await inbox.fill(SOURCE)
            assert (fill.position, fill.rows, fill.bytes, fill.ids) == (2, 1, len(b"body of b"), 2)
            assert fill.epoch == empty.epoch
            assert (await inbox.fill("other")).epoch != fill.epoch
            await inbox.remove(SOURCE, 1)
            assert await inbox.fill(SOURCE) == fill

    async def test_forgets_old_ids_and_the_oldest_of_too_many(self, deployment: Deployment) -> None:
        async with deployment.connect() as inbox:
            await inbox.store(SOURCE, deliveries("a"), LIMITS)
            await inbox.store(SOURCE, deliveries("b"), LIMITS)
            await inbox.store(SOURCE, deliveries("c"), LIMITS)
            assert await inbox.forget(SOURCE, 3600, 3) == 0
            assert await inbox.forget(SOURCE, 3600, 2) == 1
            assert (await inbox.fill(SOURCE)).ids == 2
            assert await inbox.store(SOURCE, deliveries("b", "a"), LIMITS) == [REPEATED, STORED]
            assert await inbox.forget(SOURCE, -1, 100) == 0
            assert (await inbox.fill(SOURCE)).ids == 0
            assert await inbox.store(SOURCE, deliveries("c"), LIMITS) == [STORED]

    async def test_notifies_all_replicas(self, deployment: Deployment) -> None:
        async with deployment.connect() as one, deployment.connect() as two, asyncio.timeout(60):
            with two.watch(SOURCE) as changed:
                while not changed.is_set():  # what is stored before the replica listens is not notified
                    await one.store(SOURCE, deliveries(None), LIMITS)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await changed.wait()
