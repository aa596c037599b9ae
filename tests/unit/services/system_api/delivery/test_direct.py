"""A bus that delivers: events first, then the checkpoint."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.system_api.delivery.direct import DirectBus
from services.system_api.delivery.options import DeliverOptions
from services.system_api.delivery.sender import Sender
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TopicPartition, Transaction
from shared.errors import Fenced, Unavailable
from tests.unit.services.system_api.delivery.receiver import Receiver
from tests.unit.services.system_api.harness import TOPICS, Harness, InstantClock, numbers


@asynccontextmanager
async def delivering(receiver: Receiver) -> AsyncIterator[tuple[DirectBus, MemoryBus]]:
    inner = MemoryBus()
    options = DeliverOptions.model_validate({"url": receiver.url, "retry": {"attempts": 2, "first_wait": 0}})
    async with Sender.opened(options, InstantClock(), random.Random(1)) as sender:
        bus = DirectBus(inner, sender, TOPICS)
        await bus.ensure_topics(TOPICS.all())
        yield bus, inner


def transaction(number: int) -> Transaction:
    made = Transaction()
    made.append(TOPICS.publish, b"k", b'{"id":"%d"}' % number)
    made.append(TOPICS.dead_letter, b"r%d" % number, b"reject")
    made.append(TOPICS.checkpoints, b"orders", b"%d" % number)
    return made


async def test_events_are_delivered_and_the_rest_is_kept() -> None:
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        async with bus.writer("system.orders") as writer:
            for number in range(5):
                await writer.commit(transaction(number))
        assert receiver.ids == ["0", "1", "2", "3", "4"]
        assert await bus.latest(TOPICS.checkpoints, b"orders") == {b"orders": b"4"}
        assert len(inner.records(TOPICS.dead_letter, 0)) == 5
        with pytest.raises(Unavailable, match="does not exist"):
            await inner.bounds(TOPICS.publish)


async def test_the_checkpoint_does_not_pass_what_is_not_confirmed() -> None:
    async with Receiver().running() as receiver, delivering(receiver) as (bus, _):
        async with bus.writer("system.orders") as writer:
            await writer.commit(transaction(0))
            receiver.status = 503
            first, second = await writer.submit(transaction(1)), await writer.submit(transaction(2))
            for submitted in (first, second):
                with pytest.raises(Unavailable):
                    await submitted
        assert bus.problem == f"{receiver.url}: answered 503: not now"
        assert await bus.latest(TOPICS.checkpoints, b"orders") == {b"orders": b"0"}
        receiver.status = 202
        async with bus.writer("system.orders") as writer:
            await writer.commit(transaction(1))
        assert receiver.ids == ["0", "1"]
        assert not bus.problem


async def test_an_older_writer_is_fenced() -> None:
    async with (
        Receiver().running() as receiver,
        delivering(receiver) as (bus, _),
        bus.writer("system.orders") as older,
        bus.writer("system.orders"),
    ):
        with pytest.raises(Fenced):
            await older.commit(transaction(0))
        with pytest.raises(Fenced):
            await older.committed("g", TopicPartition(TOPICS.checkpoints, 0))


async def test_what_is_not_kept_cannot_be_read() -> None:
    async with Receiver().running() as receiver, delivering(receiver) as (bus, _):
        for asked in (
            bus.epoch(TOPICS.publish),
            bus.bounds(TOPICS.publish),
            bus.committed("g", TopicPartition(TOPICS.publish, 0)),
        ):
            with pytest.raises(Unavailable, match="delivered directly"):
                await asked
        for opening in (
            bus.appender,
            lambda: bus.reader(TOPICS.publish, {}),
            lambda: bus.join(TOPICS.publish, "g", "m", lambda _reader: bus.ensure_topics([])),
        ):
            with pytest.raises(Unavailable, match="delivered directly"):
                opening()


async def test_a_source_needs_no_special_case() -> None:
    """The same poller: outages of the other side, then an event that it finds too large."""
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        harness = Harness(last=25)
        harness.bus = bus  # type: ignore[assignment]
        receiver.status = 503
        async with harness.running(harness.poller()) as poller:
            await harness.until(lambda: poller.status.state.value == "blocked")
            assert receiver.events == []
            receiver.status = 202
            await harness.until(lambda: poller.status.caught_up_at is not None)
    assert receiver.ids == [f"numbers:{n}" for n in range(1, 26)]
    assert [b"%d" % event["data"] for event in receiver.events] == numbers(25)
    assert (await inner.latest(TOPICS.checkpoints, b"numbers"))[b"numbers"] == b"25"
    assert harness.alerts.calls == [], "readiness reports the other side"


@pytest.mark.parametrize(
    ("status", "code"), [(400, "malformed"), (403, "publishing-not-permitted"), (422, "malformed")]
)
async def test_a_source_whose_events_are_refused_has_an_alert(status: int, code: str) -> None:
    """Other sources deliver meanwhile, so that readiness shows nothing."""
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        harness = Harness(last=5)
        harness.bus = bus  # type: ignore[assignment]
        receiver.status, receiver.code = status, code
        async with harness.running(harness.poller()) as poller:
            await harness.until(lambda: poller.status.state.value == "down")
            assert bus.problem is None
            assert await inner.latest(TOPICS.checkpoints, b"numbers") == {}
            receiver.status = 202
            await harness.until(lambda: poller.status.caught_up_at is not None)
    assert receiver.ids == [f"numbers:{n}" for n in range(1, 6)]
    begun, over = harness.alerts.calls
    assert (begun[0], over[0]) == ("begin", "end")
    assert f"answered {status}: not now" in str(begun)


async def test_requests_that_the_other_side_finds_too_large_become_smaller() -> None:
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        harness = Harness(last=12)
        harness.bus = bus  # type: ignore[assignment]
        receiver.largest = 300  # less than two events
        async with harness.running(harness.poller()) as poller:
            await harness.until(lambda: poller.status.position == {"": "12"})
    assert sorted(set(receiver.ids)) == sorted(f"numbers:{n}" for n in range(1, 13))
    assert inner.records(TOPICS.dead_letter, 0) == []
