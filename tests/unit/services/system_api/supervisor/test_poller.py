"""The poller: exactly once through crashes of every part, and nobody else is troubled."""

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
from tests.unit.services.system_api.surroundings import OPTIONS, TOPICS, Numbers, Setting, numbers


async def test_everything_is_published_once_and_the_place_is_saved() -> None:
    setting = Setting()
    async with setting.running(setting.poller()) as poller:
        await setting.until(lambda: poller.condition.caught_up_at is not None)
    assert setting.published() == numbers(25)
    assert await setting.bus.latest(TOPICS.checkpoints, b"numbers") == {b"numbers": b"25"}
    assert poller.condition.position == {"": "25"}
    assert setting.alerts.calls == []


async def test_without_a_channel_events_go_to_the_ingest_topic() -> None:
    setting = Setting()
    async with setting.running(setting.poller(OPTIONS.model_copy(update={"channel": None}))) as poller:
        await setting.until(lambda: poller.condition.caught_up_at is not None)
    assert len(setting.bus.records(TOPICS.ingest, 0)) == 25
    assert setting.published() == []


async def test_it_goes_on_where_it_was() -> None:
    setting = Setting(last=5)
    for last in (5, 12):
        setting.last = last
        async with setting.running(setting.poller()):
            await setting.until(lambda: len(setting.published()) >= setting.last)
    assert setting.published() == numbers(12)


async def test_an_upstream_that_comes_back_within_the_policy_troubles_nobody() -> None:
    failures = [Unavailable("connection refused")] * 2

    async def fail(_next: int) -> None:
        if failures:
            raise failures.pop()

    setting = Setting(before=fail)
    async with setting.running(setting.poller()) as poller:
        await setting.until(lambda: poller.condition.caught_up_at is not None)
    assert setting.published() == numbers(25)
    assert setting.alerts.calls == []
    assert len(setting.opened) == 1, "retried in place"


async def test_an_outage_is_told_once_and_probed_until_it_ends() -> None:
    down = asyncio.Event()
    down.set()
    probes = 0

    async def fail(position: int) -> None:
        nonlocal probes
        if down.is_set() and position > 10:
            probes += 1
            raise Unavailable("connection refused")

    setting = Setting(before=fail)
    async with setting.running(setting.poller()) as poller:
        await setting.until(lambda: probes > 50)
        assert poller.condition.state is State.DOWN
        assert poller.condition.error == "connection refused"
        assert setting.published() == numbers(10), "what was read before is safe"
        down.clear()
        await setting.until(lambda: len(setting.published()) == 25)
        await setting.until(lambda: poller.condition.state is State.READING)
    assert [told.method for told in setting.alerts.calls] == ["begin", "end"]
    probing = setting.clock.slept[2:]
    assert min(probing) > 4.4, "at the ceiling, less a tenth of jitter"


async def test_a_source_that_cannot_be_opened_is_an_outage_as_well() -> None:
    setting, tries = Setting(), 0

    @contextlib.asynccontextmanager
    async def opening(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        nonlocal tries
        tries += 1
        if tries < 20:
            raise Unavailable("no route to host")
        async with setting.open(checkpoint) as source:
            yield source

    async with setting.running(setting.poller(opening=opening)):
        await setting.until(lambda: len(setting.alerts.calls) == 2)
    assert setting.published() == numbers(25)


async def test_a_bug_is_reported_and_the_source_built_anew_after_a_pause() -> None:
    bugs = [ZeroDivisionError("division by zero")] * 3

    async def fail(position: int) -> None:
        if position > 10 and bugs:
            raise bugs.pop()

    setting = Setting(before=fail)
    async with setting.running(setting.poller()):
        await setting.until(lambda: len(setting.published()) == 25)
        await setting.until(lambda: len(setting.alerts.calls) == 2)
    assert setting.published() == numbers(25)
    assert "ZeroDivisionError: division by zero" in setting.alerts.calls[0].text
    assert len(setting.opened) == 4
    assert all(pause >= 0.25 for pause in setting.clock.slept)


async def test_a_poll_that_never_ends_is_given_up_and_the_source_built_anew() -> None:
    hung = [True]

    async def hang(_next: int) -> None:
        if hung.pop():
            hung.append(False)
            await asyncio.Event().wait()
        hung.append(False)

    setting = Setting(before=hang)
    async with setting.running(setting.poller(OPTIONS.model_copy(update={"bound": 0.05}))):
        await setting.until(lambda: len(setting.published()) == 25)
        await setting.until(lambda: len(setting.alerts.calls) == 2)
    assert "a poll took longer than 0.05 s" in setting.alerts.calls[0].text


async def test_a_lease_that_is_lost_stops_the_reading_until_it_is_ours_again() -> None:
    reading = asyncio.Event()

    async def slowly(_next: int) -> None:
        reading.set()
        await asyncio.sleep(0)

    setting = Setting(before=slowly, last=100_000)
    async with setting.running(setting.poller()) as poller:
        await reading.wait()
        epoch = await setting.store.take_away("source/numbers")
        await setting.until(lambda: poller.condition.state is State.STANDBY)
        standing = len(setting.published())
        await asyncio.sleep(0.02)  # that it reads no more has no event to wait for
        assert len(setting.published()) == standing
        setting.last = standing + 10
        await setting.store.release("source/numbers", "them", epoch)
        await setting.until(lambda: len(setting.published()) == standing + 10)
    assert setting.published() == numbers(standing + 10)
    assert setting.store.granted == ["source/numbers"] * 2


async def test_a_newer_owner_fences_us_and_we_wait() -> None:
    setting = Setting(last=5)
    async with setting.running(setting.poller()) as poller:
        await setting.until(lambda: poller.condition.caught_up_at is not None)
        async with setting.bus.writer("system.numbers"):
            setting.last = 10
            for source in setting.opened:
                assert isinstance(source, Numbers)
                source.last = 10
            await setting.until(lambda: len(setting.published()) == 10)
    assert setting.published() == numbers(10)
    assert 15.0 in setting.clock.slept


async def test_where_the_leases_are_kept_is_away_for_a_while() -> None:
    setting = Setting()
    setting.store.error = Unavailable("the database does not answer")
    async with setting.running(setting.poller()) as poller:
        await setting.until(lambda: len(setting.clock.slept) > 5)
        assert poller.condition.state is State.BLOCKED
        setting.store.error = None
        await setting.until(lambda: len(setting.published()) == 25)
    assert setting.alerts.calls == [], "the database has an alert of its own"


class Failing(MemoryBus):
    """A bus whose every third transaction fails, half of them after it became visible."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        async with super().writer(name) as writer:
            yield FailingWriter(writer, self)


class FailingWriter:
    def __init__(self, writer: Writer, bus: Failing) -> None:
        self._writer = writer
        self._bus = bus

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        self._bus.count += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._bus.count % 6 == 3:
            raise Unavailable("broker not available")
        await self._writer.commit(transaction)
        if self._bus.count % 6 == 0:
            done.set_exception(Unavailable("the answer never came"))
        else:
            done.set_result(None)
        return done

    async def commit(self, transaction: Transaction) -> None:
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        return await self._writer.committed(group, position)


async def test_a_bus_that_fails_before_and_after_commits_costs_nothing() -> None:
    setting = Setting(bus=Failing(), last=200)
    async with setting.running(setting.poller()):
        await setting.until(lambda: len(setting.published()) >= 200)
    assert setting.published() == numbers(200)
    assert setting.alerts.calls == [], "the upstream is not at fault"


class Settled(Numbers):
    async def settle(self, batch: Batch) -> None:
        self.settled.append([int((record.value or b"").rpartition(b":")[2][:-1]) for record in batch.records])
        if len(self.settled) == 1:
            raise Unavailable("the archive is away")


async def test_batches_are_settled_in_their_order_and_what_fails_there_stops_nothing() -> None:
    setting = Setting(last=50)
    source = Settled(1, 50, setting.before)

    @contextlib.asynccontextmanager
    async def opening(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        assert not checkpoint
        yield source

    async with setting.running(setting.poller(opening=opening)):
        await setting.until(lambda: len(source.settled) == 5)
    assert [number for batch in source.settled for number in batch] == list(range(1, 51))


class Rejecting(Numbers):
    async def poll(self, limit: int) -> Batch:
        batch = await super().poll(limit)
        if batch:
            batch.rejects.append(Reject("numbers:x", b"\xff", "line 1 is no number", "source", "source:a:1"))
            batch.problem = ("file b cannot be read",)
        return batch


async def test_rejects_go_to_the_dead_letter_and_partial_trouble_is_told() -> None:
    setting = Setting(last=5)

    @contextlib.asynccontextmanager
    async def opening(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield Rejecting(int(checkpoint.get("", b"0")) + 1, 5, setting.before)

    async with setting.running(setting.poller(opening=opening)):
        await setting.until(lambda: len(setting.alerts.calls) == 2)
    (record,) = setting.bus.records(TOPICS.dead_letter, 0)
    assert (record.key, record.value) == (b"numbers:x", b"\xff")
    assert "without a part of it: file b cannot be read" in setting.alerts.calls[0].text


async def test_an_event_the_bus_finds_too_large_is_put_aside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.protocol.RECORD_LIMIT", 100_000)

    class Big(Numbers):
        async def poll(self, limit: int) -> Batch:
            batch = await super().poll(limit)
            batch.records = [
                record._replace(value=(record.value or b"").replace(b'"data":7}', b'"data":"%b"}' % (b"x" * 200_000)))
                for record in batch.records
            ]
            return batch

    setting = Setting(last=25)

    @contextlib.asynccontextmanager
    async def opening(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield Big(int(checkpoint.get("", b"0")) + 1, 25, setting.before)

    async with setting.running(setting.poller(opening=opening)):
        await setting.until(lambda: len(setting.published()) == 24)
    assert setting.published() == [number for number in numbers(25) if number != b"7"]
    (record,) = setting.bus.records(TOPICS.dead_letter, 0)
    assert record.key == b"numbers:7"
    assert len(record.value or b"") == 65_536
    assert b"above the bus's limit" in dict(record.headers)["error"]


async def test_a_stop_waits_for_what_is_being_committed() -> None:
    class Slow(Failing):
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

    setting = Setting(bus=Slow(), last=5)
    poller = setting.poller()
    async with setting.running(poller):
        await committed.wait()
    assert poller.condition.position == {"": "5"}


async def test_fenced_is_told_apart_from_faults() -> None:
    async def fenced(_next: int) -> None:
        raise Fenced("a newer owner")

    setting = Setting(before=fenced)
    async with setting.running(setting.poller()):
        await setting.until(lambda: len(setting.store.granted) > 3)
    assert setting.alerts.calls == []
