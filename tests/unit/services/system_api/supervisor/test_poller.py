"""The poller: every event exactly once through failures of every part, with alerts for real outages only."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable

from services.system_api.replicas.membership import Turn
from services.system_api.sources.source import Checkpoint, Source
from services.system_api.supervisor.status import State
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Transaction, Writer
from shared.errors import Fenced, Unavailable
from tests.unit.services.system_api.harness import OPTIONS, TOPICS, Harness, Numbers, numbers
from tests.unit.services.system_api.supervisor.buses import FailingBus, FailingWriter


async def test_everything_is_published_once_and_the_checkpoint_is_saved() -> None:
    harness = Harness()
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: poller.status.caught_up_at is not None)
    assert harness.published() == numbers(25)
    assert await harness.bus.latest(TOPICS.checkpoints, b"numbers") == {
        b"numbers": b"25",
        b"numbers/~trelay": b'{"rows":25,"published":25}',
    }
    assert poller.status.position == {"": "25"}
    assert harness.alerts.calls == []


async def test_without_a_channel_events_go_to_the_ingest_topic() -> None:
    harness = Harness()
    async with harness.running(harness.poller(OPTIONS.model_copy(update={"channel": None}))) as poller:
        await harness.until(lambda: poller.status.caught_up_at is not None)
    assert len(harness.bus.records(TOPICS.ingest, 0)) == 25
    assert harness.published() == []


async def test_it_resumes_from_the_checkpoint() -> None:
    harness = Harness(last=5)
    for last in (5, 12):
        harness.last = last
        async with harness.running(harness.poller()):
            await harness.until(lambda: len(harness.published()) >= harness.last)
    assert harness.published() == numbers(12)


async def test_an_upstream_that_recovers_within_the_retry_policy_raises_no_alert() -> None:
    failures = [Unavailable("connection refused")] * 2

    async def fail(_next: int) -> None:
        if failures:
            raise failures.pop()

    harness = Harness(before=fail)
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: poller.status.caught_up_at is not None)
    assert harness.published() == numbers(25)
    assert harness.alerts.calls == []
    assert len(harness.opened) == 1, "retried in place"


async def test_an_outage_raises_one_alert_and_is_probed_until_it_ends() -> None:
    down = asyncio.Event()
    down.set()
    probes = 0

    async def fail(position: int) -> None:
        nonlocal probes
        if down.is_set() and position > 10:
            probes += 1
            raise Unavailable("connection refused")

    harness = Harness(before=fail)
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: probes > 50)
        assert poller.status.state is State.DOWN
        assert poller.status.error == "connection refused"
        assert harness.published() == numbers(10), "what was read before is committed"
        down.clear()
        await harness.until(lambda: len(harness.published()) == 25)
        await harness.until(lambda: poller.status.state is State.RUNNING)
    assert [told.method for told in harness.alerts.calls] == ["begin", "end"]
    probing = harness.clock.slept[2:]
    assert min(probing) > 4.4, "longest_wait, less a tenth of jitter"


async def test_a_source_that_cannot_be_opened_is_an_outage_too() -> None:
    harness, tries = Harness(), 0

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        nonlocal tries
        tries += 1
        if tries < 20:
            raise Unavailable("no route to host")
        async with harness.open(checkpoint) as source:
            yield source

    async with harness.running(harness.poller(open_source=open_source)):
        await harness.until(lambda: len(harness.alerts.calls) == 2)
    assert harness.published() == numbers(25)


async def test_a_bug_is_reported_and_the_source_restarted_after_a_pause() -> None:
    bugs = [ZeroDivisionError("division by zero")] * 3

    async def fail(position: int) -> None:
        if position > 10 and bugs:
            raise bugs.pop()

    harness = Harness(before=fail)
    async with harness.running(harness.poller()):
        await harness.until(lambda: len(harness.published()) == 25)
        await harness.until(lambda: len(harness.alerts.calls) == 2)
    assert harness.published() == numbers(25)
    assert "ZeroDivisionError: division by zero" in harness.alerts.calls[0].text
    assert len(harness.opened) == 4
    assert all(pause >= 0.25 for pause in harness.clock.slept)


async def test_a_poll_that_never_ends_is_cancelled_and_the_source_restarted() -> None:
    hung = [True]

    async def hang(_next: int) -> None:
        if hung.pop():
            hung.append(False)
            await asyncio.Event().wait()
        hung.append(False)

    harness = Harness(before=hang)
    async with harness.running(harness.poller(OPTIONS.model_copy(update={"poll_timeout": 0.05}))):
        await harness.until(lambda: len(harness.published()) == 25)
        await harness.until(lambda: len(harness.alerts.calls) == 2)
    assert "a poll took longer than 0.05 s" in harness.alerts.calls[0].text


async def test_a_lost_lease_stops_reading_until_it_is_acquired_again() -> None:
    reading = asyncio.Event()

    async def slowly(_next: int) -> None:
        reading.set()
        await asyncio.sleep(0)

    harness = Harness(before=slowly, last=100_000)
    async with harness.running(harness.poller()) as poller:
        await reading.wait()
        epoch = await harness.store.take_away("source/numbers")
        await harness.until(lambda: poller.status.state is State.STANDBY)
        count = len(harness.published())
        await asyncio.sleep(0.02)  # no event signals that reading has stopped
        assert len(harness.published()) == count
        harness.last = count + 10
        await harness.store.release("source/numbers", "them", epoch)
        await harness.until(lambda: len(harness.published()) == count + 10)
    assert harness.published() == numbers(count + 10)
    assert harness.store.granted == ["source/numbers"] * 2


async def test_a_source_is_released_when_it_is_the_turn_of_another_replica() -> None:
    harness, turn = Harness(last=5), Turn()
    async with harness.running(harness.poller(turn=turn)) as poller:
        await asyncio.sleep(0.02)  # nothing signals that nothing happens
        assert harness.store.granted == []
        turn.set(granted=True)
        await harness.until(lambda: len(harness.published()) == 5)
        turn.set(granted=False)
        await harness.until(lambda: poller.status.state is State.STANDBY and poller.status.epoch is None)
        assert await harness.store.held("source/") == []
        harness.last = 8
        turn.set(granted=True)
        await harness.until(lambda: len(harness.published()) == 8)
    assert harness.published() == numbers(8)


async def test_it_pauses_after_a_newer_owner_fenced_it() -> None:
    harness = Harness(last=5)
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: poller.status.caught_up_at is not None)
        async with harness.bus.writer("system.numbers"):
            harness.last = 10
            for source in harness.opened:
                assert isinstance(source, Numbers)
                source.last = 10
            await harness.until(lambda: len(harness.published()) == 10)
    assert harness.published() == numbers(10)
    assert 15.0 in harness.clock.slept


async def test_the_lease_store_is_unavailable_for_a_while() -> None:
    harness = Harness()
    harness.store.error = Unavailable("the database does not answer")
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: len(harness.clock.slept) > 5)
        assert poller.status.state is State.BLOCKED
        harness.store.error = None
        await harness.until(lambda: len(harness.published()) == 25)
    assert harness.alerts.calls == [], "readiness reports the database"


async def test_a_stop_waits_for_commits_in_flight() -> None:
    class SlowBus(FailingBus):
        @contextlib.asynccontextmanager
        async def writer(self, name: str) -> AsyncIterator[Writer]:
            async with MemoryBus.writer(self, name) as writer:
                yield SlowWriter(writer, self)

    committed = asyncio.Event()

    class SlowWriter(FailingWriter):
        async def submit(self, transaction: Transaction) -> Awaitable[None]:
            await self._writer.commit(transaction)
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.05, done.set_result, None)
            committed.set()
            return done

    harness = Harness(bus=SlowBus(), last=5)
    poller = harness.poller()
    async with harness.running(poller):
        await committed.wait()
    assert poller.status.position == {"": "5"}


async def test_being_fenced_raises_no_alert() -> None:
    async def fenced(_next: int) -> None:
        raise Fenced("a newer owner")

    harness = Harness(before=fenced)
    async with harness.running(harness.poller()):
        await harness.until(lambda: len(harness.store.granted) > 3)
    assert harness.alerts.calls == []
