"""A queue as a source: what is committed is acknowledged, and nothing else."""

import asyncio
import contextlib
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.system_api.sources.queue.deliveries import PART, Attempts, Outcomes
from services.system_api.sources.queue.events import MessageEvents
from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.options import QueueSourceOptions
from services.system_api.sources.queue.source import QueueSource
from services.system_api.sources.source import Batch, EventBuilder, Loss
from shared.bus.protocol import Outgoing
from shared.errors import SettingsError, Unavailable
from shared.events.dead_letter import Reject
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import started
from tests.unit.services.system_api.sources.queue.memory_broker import MemoryBroker
from tests.unit.shared.expression.stopped import APART, stopped_evaluator

OPTIONS = QueueSourceOptions(type="t", max_deliveries=4)


@asynccontextmanager
async def opened(
    broker: MemoryBroker,
    outcomes: Outcomes | None = None,
    saved: dict[str, bytes] | None = None,
    options: QueueSourceOptions = OPTIONS,
) -> AsyncIterator[QueueSource]:
    """Open a source, past the poll that notes its run."""
    events = MessageEvents(EventBuilder("s", "t", None, SYSTEM_CLOCK, random.Random(1)), options, "q")
    attempts = Attempts(OPTIONS.max_deliveries, outcomes or Outcomes(), saved or {})
    async with QueueSource.opened("s", broker, events, OPTIONS, attempts) as source:
        begun = await source.poll(10)
        assert (list(begun.checkpoint), begun.more) == ([PART], False)
        assert begun.waiting, "it has not caught up: nothing is read yet"
        await asyncio.wait_for(source.wait_for_change(), 1)
        await source.settle(begun)
        if saved is not None:
            saved |= {part: value for part, value in begun.checkpoint.items() if value is not None}
        yield source


def ids(batch: Batch) -> list[str]:
    return [dict(record.headers)["trelay-provenance"].decode().rpartition(":")[2] for record in batch.records]


def places(broker: MemoryBroker) -> list[str]:
    return [message.place for message in broker.queue]


async def test_messages_are_acknowledged_once_their_batch_is_settled() -> None:
    broker = MemoryBroker({})
    broker.send("a", "b", "c")
    async with opened(broker) as source:
        first = await source.poll(1)
        assert (ids(first), first.more) == (["a"], True)
        second = await source.poll(10)
        assert (ids(second), second.more, second.rows) == (["b", "c"], False, 2)
        assert places(broker) == ["a", "b", "c"]
        await source.settle(first)
        assert places(broker) == ["b", "c"]
        await source.settle(second)
        assert places(broker) == []
    assert not (await poll_once(broker)).records


async def test_other_tasks_run_while_a_subject_is_evaluated_apart() -> None:
    """It may take seconds, and the heartbeats of all other sources are on the same event loop."""
    broker = MemoryBroker({})
    broker.send("a", "b", body=b'{"s": "x"}')
    async with opened(broker, options=OPTIONS.model_copy(update={"subject": APART})) as source:
        with stopped_evaluator() as process:
            polling = started("poll", source.poll(10))
            async with asyncio.timeout(60):
                for _ in range(100):
                    await asyncio.sleep(0)
            assert not polling.done(), "the evaluation goes on"
            os.kill(process.pid, signal.SIGCONT)
            batch = await polling
    assert (ids(batch), batch.rejects) == (["a", "b"], [])
    assert [json.loads(record.value or b"")["subject"] for record in batch.records] == ["x ", "x "]


async def poll_once(broker: MemoryBroker) -> Batch:
    async with opened(broker) as source:
        return await source.poll(10)


async def test_after_a_lost_connection_what_is_delivered_again_is_dropped_and_acknowledged() -> None:
    broker = MemoryBroker({})
    broker.send("a", "b")
    async with opened(broker) as source:
        batches = [await source.poll(1), await source.poll(10)]
        broker.error = Unavailable("gone")
        with pytest.raises(Unavailable):
            await source.poll(10)
        broker.send("c")
        # Neither batch is settled: nothing of them may be acknowledged yet, though it is delivered again.
        again = [await source.poll(1), await source.poll(10)]
        assert [(ids(batch), batch.skipped) for batch in again] == [([], 1), (["c"], 1)]
        assert not again[0]
        assert places(broker) == ["a", "b", "c"]
        for batch in batches:
            await source.settle(batch)
        assert places(broker) == ["b", "c"]
        await source.settle(again[1])
        assert places(broker) == []
        assert broker.connections == 2


async def test_a_loss_is_reported_though_the_acknowledgement_of_its_batch_fails() -> None:
    broker = MemoryBroker({})
    broker.send("a")
    async with opened(broker) as source:
        await source.settle(await source.poll(10))
        broker.error = Unavailable("lost")
        with pytest.raises(Unavailable):
            await source.poll(10)
        broker.send("a")
        broker.ledger.losses.append(Loss("gone"))
        broker.acknowledgement = Unavailable("lost again")
        with pytest.raises(Unavailable, match="again"):
            await source.poll(10)
        assert [await poll_losses(source) for _ in range(2)] == [["gone"], []]


async def test_what_is_delivered_for_the_last_time_and_not_committed_is_reported_as_lost() -> None:
    broker, outcomes = MemoryBroker({}), Outcomes()
    broker.queue = [Message(place, b"1", final="drops it", deliveries=1) for place in "abc"]
    async with opened(broker, outcomes) as source:
        first, second = [await source.poll(1) for _ in range(2)]
        broker.error = Unavailable("gone")
        with pytest.raises(Unavailable):
            await source.poll(1)
        broker.queue.clear()
        assert await poll_losses(source) == [], "both are being committed, and were not dropped unread"
        await source.settle(first)
    # The transaction of the second one has failed, and its run has ended.
    broker.resume({})
    async with opened(broker, outcomes) as source:
        assert await poll_losses(source) == ["q, b: delivered 2 times and not published; the broker drops it"]
        assert await poll_losses(source) == []
    assert ids(second) == ["b"]


async def poll_losses(source: QueueSource) -> list[str]:
    return [loss.text for loss in (await source.poll(10)).losses]


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
        assert (batch.redelivered, batch.parked) == (1, 0)
        await source.settle(batch)
    assert places(broker) == []


class Poison:
    """Makes the processing of one message raise an error, again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broker: MemoryBroker, error: type[BaseException]) -> None:
        self.published: list[str] = []
        self.rejects: list[Reject] = []
        self.attempts = self.redelivered = self.parked = 0
        self._saved: dict[str, bytes] = {}
        self._broker = broker
        self._error = error
        original = EventBuilder.event

        def event(builder: EventBuilder, position: str, *values: Any) -> Outgoing:
            if position == "poison":
                raise error("poison")
            return original(builder, position, *values)

        monkeypatch.setattr(EventBuilder, "event", event)

    async def run(self, outcomes: Callable[[], Outcomes]) -> None:
        """Open the source until nothing waits."""
        while self._broker.queue:
            self.attempts += 1
            assert self.attempts < 10
            self._broker.resume({part: value for part, value in self._saved.items() if part != PART})
            with contextlib.suppress(self._error):
                async with opened(self._broker, outcomes(), self._saved) as source:
                    await self._poll(source)

    async def _poll(self, source: QueueSource) -> None:
        while self._broker.queue:
            batch = await source.poll(10)
            self.published += ids(batch)
            self.rejects += batch.rejects
            self.redelivered += batch.redelivered
            self.parked += batch.parked
            self._saved |= {part: value for part, value in batch.checkpoint.items() if value is not None}
            if batch:
                await source.settle(batch)


async def test_a_message_whose_processing_fails_is_parked_after_its_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = MemoryBroker({})
    broker.send("a", "b", "poison", "c")
    poison, outcomes = Poison(monkeypatch, broker, KeyError), Outcomes()
    await poison.run(lambda: outcomes)
    assert poison.published == ["a", "b", "c"]
    (reject,) = poison.rejects
    assert reject.attempts == poison.attempts == OPTIONS.max_deliveries + 1
    assert poison.parked == 1
    assert reject.error.endswith("delivered 5 times and never processed to the end; the last error: KeyError: 'poison'")


async def test_a_message_that_kills_the_process_is_parked_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    broker = MemoryBroker({})
    broker.send("a", "poison", "b", "c")
    poison = Poison(monkeypatch, broker, Killed)
    await poison.run(Outcomes)  # another process has its own memory of what it has processed
    assert poison.published == ["a", "b", "c"]
    (reject,) = poison.rejects
    assert (reject.attempts, poison.attempts) == (5, 5)


async def test_a_suspect_is_committed_before_and_after_it_is_processed() -> None:
    broker = MemoryBroker({})
    broker.send("a", "b", "c")
    broker.queue = [
        message._replace(deliveries=deliveries) for message, deliveries in zip(broker.queue, (0, 1, 1), strict=True)
    ]
    saved = {PART: b'{"runs":2,"attempts":{"b":1}}'}
    async with opened(broker, None, saved) as source:
        seen = []
        for _ in range(5):
            batch = await source.poll(10)
            seen.append((ids(batch), batch.more, PART in batch.checkpoint))
            if batch:
                await source.settle(batch)
        assert seen == [
            (["a"], True, True),
            ([], False, True),
            (["b"], False, True),
            ([], False, True),
            (["c"], False, True),
        ]


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
