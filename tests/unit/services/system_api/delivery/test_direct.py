"""A bus that delivers: events first, then the checkpoint."""

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.system_api.delivery.direct import DeliverableTransaction, DirectBus
from services.system_api.delivery.options import DeliverOptions
from services.system_api.delivery.sender import EventsRefused, Sender
from services.system_api.operations.checkpoints import OwnPart, checkpoint_part, split
from shared.bus.memory import MemoryBus
from shared.bus.memory.clients import MemoryWriter
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


async def test_a_run_that_was_abandoned_delivers_nothing_when_it_wakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its old events would follow newer ones: the inner bus fences it only after they are delivered."""
    monkeypatch.setattr("services.system_api.supervisor.poller._CANCEL_TIMEOUT", 0.01)
    hanging, release = asyncio.Event(), asyncio.Event()

    async def hang(_next: int) -> None:
        first = not hanging.is_set()
        hanging.set()
        while first and not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    async with Receiver().running() as receiver, delivering(receiver) as (bus, _):
        harness = Harness(before=hang)
        harness.bus = bus  # type: ignore[assignment]
        poller = harness.poller()
        async with harness.running(poller):
            await harness.until(hanging.is_set)
            await harness.operations.pause("numbers", "oncall", "it hangs")
            await harness.until(lambda: len(poller._abandoned) == 1)
            (abandoned,) = poller._abandoned
            await harness.operations.resume("numbers", "oncall")
            await harness.until(lambda: len(receiver.ids) >= 25)
            release.set()
            await harness.until(abandoned.done)
    assert receiver.ids == [f"numbers:{number}" for number in range(1, 26)]


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


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_an_event_that_can_never_be_accepted_is_put_aside_and_stops_no_other(status: int) -> None:
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        harness = Harness(last=95)
        harness.bus = bus  # type: ignore[assignment]
        receiver.refusal = (status, None)
        receiver.refuses = lambda event: event["data"] % 7 == 0 or event["data"] == 20
        bad = [n for n in range(1, 96) if n % 7 == 0 or n == 20]
        async with harness.running(harness.poller()) as poller:
            await harness.until(lambda: poller.status.position == {"": "95"})
            assert poller.status.state.value == "running"
    assert receiver.ids == [f"numbers:{n}" for n in range(1, 96) if n not in bad], "each once, in order"
    letters = inner.records(TOPICS.dead_letter, 0)
    assert [letter.key for letter in letters] == [b"numbers:%d" % n for n in bad]
    assert [json.loads(letter.value or b"")["data"] for letter in letters] == bad
    headers = dict(letters[0].headers)
    assert (headers["stage"], headers["origin"], headers["content"]) == (b"entity", b"source:numbers:7", b"input")
    assert b"answered %d: event 6: bad" % status in headers["error"]
    latest = await bus.latest(TOPICS.checkpoints, b"numbers")
    saved = split({checkpoint_part("numbers", key): value for key, value in latest.items()})
    counted = OwnPart(rows=95, published=95 - len(bad), rejected=len(bad))
    assert saved == (counted, {"": b"95"})
    assert poller.status.own == counted
    calls = harness.alerts.calls
    assert [call[:3] for call in calls] == [("event", "dead letter", "source numbers")] * len(bad)
    assert "event 6: bad" in calls[0].text


async def test_an_event_that_is_refused_before_a_crash_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The events beside it were stored, and the checkpoint was not committed: all of it is done again."""
    commit, commits = MemoryWriter.commit, itertools.count()

    async def failing(writer: MemoryWriter, made: Transaction) -> None:
        if next(commits) in {0, 2}:
            raise Unavailable("gone")
        await commit(writer, made)

    monkeypatch.setattr(MemoryWriter, "commit", failing)
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        harness = Harness(last=25)
        harness.bus = bus  # type: ignore[assignment]
        receiver.refuses = lambda event: event["data"] in {3, 15}
        async with harness.running(harness.poller()) as poller:
            await harness.until(lambda: poller.status.position == {"": "25"})
    assert list(dict.fromkeys(receiver.ids)) == [f"numbers:{n}" for n in range(1, 26) if n not in {3, 15}]
    assert [letter.key for letter in inner.records(TOPICS.dead_letter, 0)] == [b"numbers:3", b"numbers:15"]
    assert poller.status.own == OwnPart(rows=25, published=23, rejected=2)


async def test_a_refused_event_of_another_transaction_is_not_lost() -> None:
    """Only what knows its batch can put an event aside."""
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        receiver.refuses = lambda _: True
        async with bus.writer("system.orders") as writer:
            with pytest.raises(EventsRefused, match="event 0: bad"):
                await writer.commit(transaction(1))
        assert inner.records(TOPICS.dead_letter, 0) == []


async def test_requests_that_the_other_side_finds_too_large_become_smaller() -> None:
    async with Receiver().running() as receiver, delivering(receiver) as (bus, inner):
        harness = Harness(last=12)
        harness.bus = bus  # type: ignore[assignment]
        receiver.largest = 300  # less than two events
        async with harness.running(harness.poller()) as poller:
            await harness.until(lambda: poller.status.position == {"": "12"})
    assert receiver.ids == [f"numbers:{n}" for n in range(1, 13)]
    assert inner.records(TOPICS.dead_letter, 0) == []


async def test_what_was_begun_is_committed_before_events_are_delivered() -> None:
    async with Receiver().running() as receiver, delivering(receiver) as (bus, _):
        made = DeliverableTransaction(transaction(1).records)
        made.begun = Transaction()
        made.begun.append(TOPICS.checkpoints, b"orders", b"begun")
        receiver.status = 503
        async with bus.writer("system.orders") as writer:
            with pytest.raises(Unavailable):
                await writer.commit(made)
        assert await bus.latest(TOPICS.checkpoints, b"orders") == {b"orders": b"begun"}
        receiver.status = 202
        async with bus.writer("system.orders") as writer:
            await writer.commit(made)
        assert await bus.latest(TOPICS.checkpoints, b"orders") == {b"orders": b"1"}
