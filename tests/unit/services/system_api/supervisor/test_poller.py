"""The poller: every event exactly once through failures of every part, with alerts for real outages only."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable

import pytest

from services.system_api.sources.source import Batch, Checkpoint, Source
from services.system_api.supervisor.status import State
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TopicPartition, Transaction, Writer
from shared.errors import Fenced, Unavailable
from shared.events.dead_letter import Reject
from tests.unit.services.system_api.harness import OPTIONS, TOPICS, Harness, Numbers, numbers


async def test_everything_is_published_once_and_the_checkpoint_is_saved() -> None:
    harness = Harness()
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: poller.status.caught_up_at is not None)
    assert harness.published() == numbers(25)
    assert await harness.bus.latest(TOPICS.checkpoints, b"numbers") == {b"numbers": b"25"}
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


class DeafNumbers(Numbers):
    """Its wait for a change ignores the end of the interval, as a driver does that swallows cancellations."""

    async def wait_for_change(self) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            if self.last > 10:
                return


async def test_a_wait_for_a_change_that_never_ends_is_a_stall() -> None:
    harness, deaf = Harness(last=10), list[DeafNumbers]()

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        start = int(checkpoint.get("", b"0")) + 1
        kind = Numbers if deaf else DeafNumbers
        source = kind(start, harness.last, harness.before)
        if isinstance(source, DeafNumbers):
            deaf.append(source)
        yield source

    options = OPTIONS.model_copy(update={"poll_timeout": 0.05})
    async with harness.running(harness.poller(options, open_source)):
        await harness.until(lambda: len(harness.published()) == 10)
        harness.last = 12
        await harness.until(lambda: bool(harness.alerts.calls))
        assert "waiting for a change took longer than 0.05 s" in harness.alerts.calls[0].text
        deaf[0].last = 11  # lets the abandoned one end
        await harness.until(lambda: len(harness.published()) == 12)
    assert harness.published() == numbers(12)


async def test_a_wait_for_a_change_that_fails_is_not_an_outage() -> None:
    class BrokenNotifications(Numbers):
        async def wait_for_change(self) -> None:
            raise Unavailable("the connection for notifications is lost")

    harness = Harness(last=5)
    source = BrokenNotifications(1, 5, harness.before)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield source

    async with harness.running(harness.poller(open_source=open_source)):
        await harness.until(lambda: len(harness.published()) == 5)
        source.last = 8
        await harness.until(lambda: len(harness.published()) == 8)
    assert harness.alerts.calls == []


async def test_runs_that_cannot_be_cancelled_are_not_started_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.supervisor.poller._CANCEL_TIMEOUT", 0.01)
    release = asyncio.Event()

    async def hang(_next: int) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    harness = Harness(before=hang)
    async with harness.running(harness.poller(OPTIONS.model_copy(update={"poll_timeout": 0.02}))) as poller:
        await harness.until(lambda: "restart this replica" in (poller.status.error or ""))
        assert len(harness.opened) == 3
        release.set()
        await harness.until(lambda: len(harness.published()) == 25)
    assert harness.published() == numbers(25)


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


class FailingBus(MemoryBus):
    """Every third transaction fails, half of them after the commit."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        async with super().writer(name) as writer:
            yield FailingWriter(writer, self)


class FailingWriter:
    def __init__(self, writer: Writer, bus: FailingBus) -> None:
        self._writer = writer
        self._bus = bus

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        self._bus.count += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._bus.count % 6 == 3:
            raise Unavailable("broker not available")
        await self._writer.commit(transaction)
        if self._bus.count % 6 == 0:
            done.set_exception(Unavailable("no response"))
        else:
            done.set_result(None)
        return done

    async def commit(self, transaction: Transaction) -> None:
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        return await self._writer.committed(group, position)


async def test_a_bus_that_fails_before_and_after_commits_loses_and_repeats_nothing() -> None:
    harness = Harness(bus=FailingBus(), last=200)
    async with harness.running(harness.poller()):
        await harness.until(lambda: len(harness.published()) >= 200)
    assert harness.published() == numbers(200)
    assert harness.alerts.calls == [], "the upstream is not at fault"


class SettlingNumbers(Numbers):
    async def settle(self, batch: Batch) -> None:
        self.settled.append([int((record.value or b"").rpartition(b":")[2][:-1]) for record in batch.records])
        if len(self.settled) == 1:
            raise Unavailable("the archive is unavailable")


async def test_batches_are_settled_in_order_and_a_failed_settle_stops_nothing() -> None:
    harness = Harness(last=50)
    source = SettlingNumbers(1, 50, harness.before)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        assert not checkpoint
        yield source

    async with harness.running(harness.poller(open_source=open_source)):
        await harness.until(lambda: len(source.settled) == 5)
    assert [number for batch in source.settled for number in batch] == list(range(1, 51))


class RejectingNumbers(Numbers):
    async def poll(self, limit: int) -> Batch:
        batch = await super().poll(limit)
        if batch:
            batch.rejects.append(Reject("numbers:x", b"\xff", "line 1 is no number", "source", "source:a:1"))
            batch.problems = ("file b cannot be read",)
        return batch


async def test_rejects_go_to_the_dead_letter_and_a_degraded_source_raises_an_alert() -> None:
    harness = Harness(last=5)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield RejectingNumbers(int(checkpoint.get("", b"0")) + 1, 5, harness.before)

    async with harness.running(harness.poller(open_source=open_source)):
        await harness.until(lambda: len(harness.alerts.calls) == 2)
    (record,) = harness.bus.records(TOPICS.dead_letter, 0)
    assert (record.key, record.value) == (b"numbers:x", b"\xff")
    assert [call[:4] for call in harness.alerts.calls] == [
        ("begin", "part of source", "numbers: file b cannot be …", "file b cannot be read"),
        ("end", "part of source", "numbers: file b cannot be …", "works again"),
    ]


async def test_an_event_too_large_for_the_bus_is_dead_lettered_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.protocol.RECORD_LIMIT", 100_000)

    class LargeNumbers(Numbers):
        async def poll(self, limit: int) -> Batch:
            batch = await super().poll(limit)
            batch.records = [
                record._replace(value=(record.value or b"").replace(b'"data":7}', b'"data":"%b"}' % (b"x" * 200_000)))
                for record in batch.records
            ]
            return batch

    harness = Harness(last=25)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield LargeNumbers(int(checkpoint.get("", b"0")) + 1, 25, harness.before)

    async with harness.running(harness.poller(open_source=open_source)):
        await harness.until(lambda: len(harness.published()) == 24)
    assert harness.published() == [number for number in numbers(25) if number != b"7"]
    (record,) = harness.bus.records(TOPICS.dead_letter, 0)
    assert record.key == b"numbers:7"
    assert len(record.value or b"") == 65_536
    assert b"above the bus's limit" in dict(record.headers)["error"]


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
