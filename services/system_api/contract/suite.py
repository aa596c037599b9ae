"""What every source promises, whatever it reads: each kind inherits these tests and provides an `upstream`.

The source runs under its real poller, with a bus and leases in memory. docs/sources/your-own.md tells how to run the
suite on a source of your own.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.system_api.contract.replica import SOURCE, TOPICS, Cluster, DeafLeases, working
from services.system_api.contract.upstream import Upstream
from services.system_api.sources.source import Batch, Checkpoint, Source, SourceOpener
from services.system_api.supervisor.status import State
from shared.runtime import failpoints

FAILPOINTS = ["system.before-submit", "system.after-submit", "system.before-settle"]

_MORE_WAITS = 40


class SourceContract:
    """The promises of `services.system_api.sources.source.Source`, kept through the poller."""

    interruptions = 12
    """How many runs are interrupted at a random wait; `every_interruption` is for the long form."""

    async def test_publishes_each_record_in_order(self, upstream: Upstream) -> None:
        cluster = Cluster(upstream)
        poller = cluster.poller()
        await upstream.write(range(7))
        async with cluster.running(poller):
            await cluster.published(range(7), poller)
            await upstream.write(range(7, 10))
            await cluster.published(range(10), poller)
            assert [(event["type"], event["channel"]) for event in cluster.events()] == [
                ("number.seen", "numbers")
            ] * 10
            assert {event["subject"] for event in cluster.events()} == set("abc")
            assert len({event["id"] for event in cluster.events()}) == 10
            await cluster.until(lambda: poller.status.caught_up_at is not None and not poller.status.waiting)
        async with cluster.running(cluster.poller()):
            await upstream.write([10])
            await cluster.published(range(11))
        assert cluster.dead_letters() == []

    async def test_an_empty_upstream_is_no_error(self, upstream: Upstream) -> None:
        cluster = Cluster(upstream)
        poller = cluster.poller()
        async with cluster.running(poller):
            await cluster.until(
                lambda: working(poller.status) and poller.status.caught_up_at is not None, poller.status
            )
            assert cluster.events() == []
            await upstream.write([0])
            await cluster.published([0], poller)

    async def test_a_record_that_cannot_be_an_event_goes_to_the_dead_letter_topic(self, upstream: Upstream) -> None:
        cluster = Cluster(upstream)
        poller = cluster.poller()
        await upstream.write([0, 1])
        await upstream.write_poison()
        await upstream.write([2, 3])
        async with cluster.running(poller):
            await cluster.published(range(4), poller)
            await cluster.until(lambda: bool(cluster.dead_letters()), poller.status)
        (letter,) = cluster.dead_letters()
        assert letter["stage"] == "source"
        assert letter["origin"].startswith(f"{SOURCE}:")
        assert letter["error"]

    async def test_an_interruption_at_any_wait_loses_and_repeats_nothing(self, upstream: Upstream) -> None:
        seed = random.SystemRandom().randrange(10**6)
        print(f"seed {seed}")
        rng = random.Random(seed)
        # Every other one soon after the one before, while that is cleaned up.
        places = [rng.randrange(1, 12 if number % 2 else 70) for number in range(self.interruptions)]
        await self.interrupt(Cluster(upstream), places)

    @pytest.mark.chaos
    async def test_an_interruption_at_every_wait_loses_and_repeats_nothing(self, upstream: Upstream) -> None:
        cluster = Cluster(upstream)
        poller = cluster.poller()
        await upstream.write(range(2))
        async with cluster.running(poller):
            await cluster.published(range(2), poller)
            await upstream.write(range(2, 4))
            await cluster.published(range(4), poller)
            await cluster.until(lambda: poller.status.caught_up_at is not None, poller.status)
            waits = poller.waits
        print(f"a run waits {waits} times until it has published two batches")
        # After that a run repeats what it has done; a run that resumes waits more often than the first one.
        await self.interrupt(cluster, list(range(1, waits + _MORE_WAITS)), 4)

    async def interrupt(self, cluster: Cluster, places: list[int], written: int = 0) -> None:
        """Interrupt one run after another, each at one of its waits, while records are written."""
        poller = cluster.poller()
        errors = [asyncio.CancelledError, RuntimeError, ConnectionResetError]
        poller.interruptions = [(at, errors[number % 3]("interrupted")) for number, at in enumerate(places)]
        async with cluster.running(poller):
            while poller.interruptions:
                await cluster.upstream.write(range(written, written + 2))
                written += 2
                left = len(poller.interruptions)
                await cluster.until(
                    lambda left=left, written=written: (
                        len(poller.interruptions) < left  # type: ignore[misc]
                        or written <= len(set(cluster.numbers()))
                    ),
                    poller.status,
                )
            await cluster.published(range(written), poller)

    @pytest.mark.parametrize("failpoint", FAILPOINTS)
    async def test_a_crash_around_the_commit_loses_and_repeats_nothing(
        self, upstream: Upstream, failpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        crashes = 2

        def reach(name: str) -> None:
            nonlocal crashes
            if name == failpoint and crashes:
                crashes -= 1
                raise RuntimeError(f"killed at {name}")

        monkeypatch.setattr(failpoints, "reach", reach)
        cluster = Cluster(upstream)
        poller = cluster.poller()
        await upstream.write(range(8))
        async with cluster.running(poller):
            await cluster.published(range(8), poller)
            await upstream.write(range(8, 10))
            await cluster.published(range(10), poller)
        assert crashes == 0

    async def test_an_upstream_that_is_away_and_returns(self, upstream: Upstream) -> None:
        cluster = Cluster(upstream)
        poller = cluster.poller()
        async with cluster.running(poller):
            await upstream.write(range(4))
            await cluster.published(range(4), poller)
            async with upstream.outage():
                await cluster.until(lambda: poller.status.state in {State.RETRYING, State.DOWN}, poller.status)
                assert poller.status.error
            await upstream.write(range(4, 8))
            await cluster.published(range(8), poller)
            await cluster.until(lambda: working(poller.status), poller.status)

    async def test_a_slow_upstream(self, upstream: Upstream) -> None:
        cluster = Cluster(upstream)
        poller = cluster.poller()
        await upstream.write(range(8))
        async with upstream.slow(), cluster.running(poller):
            await cluster.published(range(8), poller)

    async def test_a_clock_that_is_set_back(self, upstream: Upstream) -> None:
        cluster = Cluster(upstream)
        poller = cluster.poller()
        async with cluster.running(poller):
            await upstream.write(range(3))
            await cluster.published(range(3), poller)
            cluster.clock.offset = -7200.0
            await upstream.write(range(3, 6))
            await cluster.published(range(6), poller)

    async def test_a_replica_that_wakes_up_after_another_took_over_is_fenced(self, upstream: Upstream) -> None:
        leases = DeafLeases()
        cluster = Cluster(upstream, leases)
        asleep, awake = asyncio.Event(), asyncio.Event()

        class Sleeper:
            """A source that holds back what it has polled until it is woken up."""

            def __init__(self, source: Source) -> None:
                self.source = source

            async def poll(self, limit: int) -> Batch:
                batch = await self.source.poll(limit)
                if len(cluster.numbers()) >= 3 and batch.records and not awake.is_set():
                    asleep.set()
                    await awake.wait()
                return batch

            async def wait_for_change(self) -> None:
                await self.source.wait_for_change()

            async def settle(self, batch: Batch) -> None:
                settle = getattr(self.source, "settle", None)
                if settle is not None:
                    await settle(batch)

        def sleeping(opener: SourceOpener) -> SourceOpener:
            @asynccontextmanager
            async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
                async with opener(checkpoint) as source:
                    yield Sleeper(source)

            return open_source

        first, second = cluster.poller("first", sleeping), cluster.poller("second")
        await upstream.write(range(6))
        async with cluster.running(first, second):
            if first.status.state is State.STANDBY:
                await cluster.until(lambda: cluster.leases.peek(f"source/{SOURCE}") is not None)  # type: ignore[attr-defined]
            await upstream.write(range(6, 12))
            await asyncio.wait_for(asleep.wait(), 60)
            leases.deaf = "first"
            opened = cluster.bus._writers[f"system.{SOURCE}"]
            held = leases.peek(f"source/{SOURCE}")
            assert held is not None
            await leases.release(f"source/{SOURCE}", "first", held[0])
            await cluster.until(lambda: cluster.bus._writers[f"system.{SOURCE}"] > opened, second.status)
            leases.deaf = ""
            awake.set()
            await cluster.published(range(12), first, second)
            await upstream.write(range(12, 15))
            await cluster.published(range(15), first, second)
            await cluster.until(lambda: first.status.state is State.STANDBY, first.status)
        assert len(cluster.bus.records(TOPICS.publish, 0)) == len(cluster.events())
