"""The poller while its bus fails, settles or refuses: no event is lost or published twice."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from services.system_api.sources.source import Batch, Checkpoint, Source
from shared.errors import Unavailable
from shared.events.dead_letter import Reject
from tests.unit.services.system_api.harness import TOPICS, Harness, Numbers, numbers
from tests.unit.services.system_api.supervisor.buses import FailingBus


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
