"""A queue as a source: what is committed is acknowledged, and nothing else."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.system_api.sources.queue.deliveries import Deliveries
from services.system_api.sources.queue.events import MessageEvents
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.queue.source import QueueSource
from services.system_api.sources.source import Batch, EventBuilder
from shared.bus.protocol import Outgoing
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.sources.queue.memory_broker import MemoryBroker

OPTIONS = QueueSourceOptions(type="t", max_deliveries=4)


@asynccontextmanager
async def opened(broker: MemoryBroker, deliveries: Deliveries | None = None) -> AsyncIterator[QueueSource]:
    events = MessageEvents(EventBuilder("s", "t", None, SYSTEM_CLOCK, random.Random(1)), OPTIONS, "q")
    known = deliveries or Deliveries(OPTIONS.max_deliveries)
    async with QueueSource.opened("s", broker, events, OPTIONS, known) as source:
        yield source


def ids(batch: Batch) -> list[str]:
    return [dict(record.headers)["trelay-provenance"].decode().rpartition(":")[2] for record in batch.records]


def places(broker: MemoryBroker) -> list[str]:
    return [message.place for message in broker.queue]


async def test_messages_are_acknowledged_once_their_batch_is_settled() -> None:
    broker = MemoryBroker({})
    broker.send("a", "b", "c")
    async with opened(broker) as source:
        first = await source.poll(10)
        assert (ids(first), first.more) == (["a"], True)
        second = await source.poll(10)
        assert (ids(second), second.more, second.rows) == (["b", "c"], False, 2)
        assert places(broker) == ["a", "b", "c"]
        await source.settle(first)
        assert places(broker) == ["b", "c"]
        await source.settle(second)
        assert places(broker) == []
    assert not await poll_once(broker)


async def poll_once(broker: MemoryBroker) -> Batch:
    async with opened(broker) as source:
        return await source.poll(10)


async def test_after_a_lost_connection_what_is_delivered_again_is_dropped_and_acknowledged() -> None:
    broker = MemoryBroker({})
    broker.send("a", "b")
    async with opened(broker) as source:
        batches = [await source.poll(10), await source.poll(10)]
        broker.error = Unavailable("gone")
        with pytest.raises(Unavailable):
            await source.poll(10)
        broker.send("c")
        # Neither batch is settled: nothing of them may be acknowledged yet, though it is delivered again.
        again = [await source.poll(10), await source.poll(10)]
        assert [(ids(batch), batch.skipped) for batch in again] == [([], 1), (["c"], 1)]
        assert not again[0]
        assert places(broker) == ["a", "b", "c"]
        for batch in batches:
            await source.settle(batch)
        assert places(broker) == ["b", "c"]
        await source.settle(again[1])
        assert places(broker) == []
        assert broker.connections == 2


async def test_repeats_of_what_is_committed_are_acknowledged_at_once() -> None:
    broker = MemoryBroker({})
    broker.send("a")
    async with opened(broker) as source:
        batch = await source.poll(10)
        broker.error = Unavailable("gone")
        with pytest.raises(Unavailable):
            await source.settle(batch)
        assert places(broker) == ["a"]
        broker.error = Unavailable("gone")
        with pytest.raises(Unavailable):
            await source.poll(10)
        assert not await source.poll(10)
        assert places(broker) == []


async def test_what_cannot_be_an_event_is_rejected_with_its_deliveries() -> None:
    broker = MemoryBroker({})
    broker.send("a", body=b"{no json")
    broker.queue = [message._replace(deliveries=1) for message in broker.queue]
    async with opened(broker) as source:
        batch = await source.poll(10)
        (reject,) = batch.rejects
        assert (reject.id, reject.attempts, reject.value) == ("s:a", 2, b"{no json")
        await source.settle(batch)
    assert places(broker) == []


async def test_a_message_whose_processing_fails_is_parked_after_its_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = MemoryBroker({})
    broker.send("a", "b", "poison", "c")
    deliveries = Deliveries(OPTIONS.max_deliveries)
    published: list[str] = []
    attempts = 0

    original = EventBuilder.event

    def event(self: EventBuilder, position: str, subject: str, data: bytes, time: bytes | None = None) -> Outgoing:
        if position == "poison":
            raise KeyError("poison")
        return original(self, position, subject, data, time)

    monkeypatch.setattr(EventBuilder, "event", event)
    rejects = []
    saved: dict[str, bytes] = {}
    while broker.queue:
        attempts += 1
        assert attempts < 10
        broker.resume(saved)
        async with opened(broker, deliveries) as source:
            try:
                while broker.queue:
                    batch = await source.poll(10)
                    published += ids(batch)
                    rejects += batch.rejects
                    saved |= {part: value for part, value in batch.checkpoint.items() if value is not None}
                    await source.settle(batch)
            except KeyError:
                continue
    assert published == ["a", "b", "c"]
    (reject,) = rejects
    assert reject.attempts == OPTIONS.max_deliveries + 1
    assert reject.error.endswith("delivered 5 times and never processed to the end; the last error: KeyError: 'poison'")
    assert attempts == OPTIONS.max_deliveries + 1


async def test_a_message_that_is_processed_alone_is_committed_before_the_next_one() -> None:
    broker = MemoryBroker({})
    broker.send("a", "b", "c")
    broker.queue = [message._replace(deliveries=2) for message in broker.queue]
    async with opened(broker) as source:
        for place in "ab":
            batch = await source.poll(10)
            assert (ids(batch), batch.more) == ([place], False)
            await asyncio.wait_for(source.wait_for_change(), 1)
            await source.settle(batch)
        assert broker.limits == [1, 1]


async def test_the_source_does_not_wait_on_a_connection_that_is_lost() -> None:
    broker = MemoryBroker({})
    async with opened(broker) as source:
        await source.poll(10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(source.wait_for_change(), 0.01)
        broker.error = Unavailable("gone")
        with pytest.raises(Unavailable):
            await source.poll(10)
        await asyncio.wait_for(source.wait_for_change(), 1)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("queue: no", "system.sources.s.queue: no"), ("the checkpoint is odd", "system.sources.s: the checkpoint is odd")],
)
async def test_a_settings_error_names_the_source(fault: str, expected: str) -> None:
    broker = MemoryBroker({})
    broker.error = SettingsError(fault)
    with pytest.raises(SettingsError, match=expected):
        await poll_once(broker)
