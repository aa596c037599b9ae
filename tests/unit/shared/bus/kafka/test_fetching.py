"""Responses that arrive after the leader has moved, and what a log says that was truncated."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.batches import Encoder, Producer
from shared.bus.kafka.client.cluster import Cluster, TopicView
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.fetching import Fetching
from shared.bus.kafka.wire.fetch import FetchPosition
from shared.bus.protocol import Outgoing
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks

OLD, NEW = Broker("old", 1), Broker("new", 2)
NONE, OUT_OF_RANGE, FENCED_LEADER_EPOCH = 0, 1, 74


def batch(first: int, count: int, epoch: int) -> bytes:
    """Return one batch as a broker stores it: offsets from `first` on, written by the leader of `epoch`."""
    records = [Outgoing(b"k", str(first + number).encode()) for number in range(count)]
    [made] = Encoder(Producer(1, 0), "none", transactional=False).encode("t", 0, records, 1)
    content = bytearray(made.content)
    struct.pack_into(">q", content, 0, first)
    struct.pack_into(">i", content, 12, epoch)
    return bytes(content)


def response(
    content: bytes = b"", code: int = NONE, partition: int = 0, tags: Mapping[int, bytes] | None = None
) -> Any:
    partitions = [(partition, code, 100, 100, 0, None, -1, content, dict(tags or {}))]
    return SimpleNamespace(error_code=NONE, topics=[("t", partitions, {})])


@dataclass
class Brokers:
    """Brokers whose responses the test hands out; the connections to them, and what is known of the topic."""

    leaders: dict[int, Broker | None] = field(default_factory=lambda: {0: OLD})
    epochs: dict[int, int] = field(default_factory=lambda: {0: 5})
    asked: list[tuple[Broker, dict[int, FetchPosition]]] = field(default_factory=list)
    dropped: list[Broker] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    clock: Any = SYSTEM_CLOCK
    longest_transaction: float = 60.0
    refreshed: int = 0
    _open: dict[Broker, asyncio.Future[Any]] = field(default_factory=dict)
    _events: set[asyncio.Event] = field(default_factory=set)

    # What `Fetching` uses of a `Cluster`.

    def connections(self) -> "Brokers":
        return self

    async def topic(self, name: str) -> TopicView:
        return TopicView(name, "e", dict(self.leaders), dict(self.epochs))

    async def refresh(self, topics: list[str]) -> None:
        self.refreshed += 1

    def forget(self, topics: list[str]) -> None:
        pass

    @contextmanager
    def watching(self, topic: str, changed: asyncio.Event) -> Iterator[None]:
        self._events.add(changed)
        yield

    # What it uses of `Connections`. As with a real one, what was sent before a connection is dropped may be answered.

    async def send(self, broker: Broker, request: Any) -> Any:
        form = request.prepare({1: (4, 17)})
        [(_, partitions, _)] = form.topics
        wanted = {number: FetchPosition(offset, epoch, last) for number, epoch, offset, last, *_ in partitions}
        self._open[broker] = asyncio.get_running_loop().create_future()
        self.asked.append((broker, wanted))
        while True:
            try:
                return await asyncio.shield(self._open[broker])
            except asyncio.CancelledError:
                if broker not in self.deaf:
                    raise

    deaf: set[Broker] = field(default_factory=set)
    """Requests to these go on although they are cancelled, as a response that is being read already does."""

    def drop(self, broker: Broker) -> None:
        self.dropped.append(broker)

    async def close(self) -> None:
        pass

    # What the tests do.

    def answer(self, broker: Broker, given: Any) -> None:
        self._open.pop(broker).set_result(given)

    def fail(self, broker: Broker) -> None:
        self._open.pop(broker).set_exception(KafkaConnectionError("gone"))

    def move(self, partition: int, leader: Broker | None) -> None:
        self.leaders[partition] = leader
        self.epochs[partition] += 1
        for event in self._events:
            event.set()

    async def requests(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.asked) < count:
                await asyncio.sleep(0)


@asynccontextmanager
async def fetching(brokers: Brokers, positions: Mapping[int, int]) -> AsyncIterator[Fetching]:
    async with Tasks() as tasks:
        reading = Fetching(cast("Cluster", brokers), "t", positions, tasks)
        tasks.keep("reading", reading.run())
        await brokers.requests(1)
        yield reading
        for left in list(brokers._open.values()):
            left.cancel()


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def offsets(reading: Fetching) -> list[int]:
    return [record.offset for record in reading.take(100)]


async def taken(reading: Fetching) -> list[int]:
    async with asyncio.timeout(5):
        while not (found := offsets(reading)):
            reading.news.clear()
            await reading.news.wait()
    return found


@pytest.mark.parametrize("deaf", [False, True])
async def test_a_leader_that_answers_after_it_was_replaced_is_not_heard(deaf: bool) -> None:
    brokers = Brokers(deaf={OLD} if deaf else set())
    async with fetching(brokers, {0: 0}) as reading:
        brokers.move(0, NEW)
        await brokers.requests(2)
        brokers.answer(NEW, response(batch(0, 20, epoch=6)))
        assert await taken(reading) == list(range(20))
        brokers.answer(OLD, response(batch(0, 9, epoch=5)))
        await settled()
        assert offsets(reading) == []
        assert reading.positions == {0: 20}
        brokers.deaf.clear()


async def test_the_connection_to_a_leader_that_was_replaced_is_dropped() -> None:
    brokers = Brokers()
    async with fetching(brokers, {0: 0}):
        brokers.move(0, NEW)
        await brokers.requests(2)
        assert brokers.dropped == [OLD]


async def test_what_an_old_leader_still_leads_is_asked_of_it_again() -> None:
    brokers = Brokers(leaders={0: OLD, 1: OLD}, epochs={0: 5, 1: 2})
    async with fetching(brokers, {0: 0, 1: 7}):
        brokers.move(0, NEW)
        await brokers.requests(3)
        assert sorted(brokers.asked[1:]) == [(NEW, {0: FetchPosition(0, 6)}), (OLD, {1: FetchPosition(7, 2)})]


async def test_nothing_is_dropped_while_nobody_leads() -> None:
    brokers = Brokers()
    async with fetching(brokers, {0: 0}) as reading:
        brokers.move(0, None)
        await settled()
        assert brokers.dropped == []
        brokers.answer(OLD, response(batch(0, 3, epoch=5)))
        assert await taken(reading) == [0, 1, 2]


async def test_a_response_for_another_place_than_the_current_one_is_not_taken() -> None:
    brokers = Brokers(deaf={OLD})
    async with fetching(brokers, {0: 0}) as reading:
        first = brokers._open[OLD]
        reading.restart(0, 50)
        await brokers.requests(2)
        first.set_result(response(batch(0, 9, epoch=5)))
        brokers.answer(OLD, response(batch(50, 2, epoch=5)))
        assert await taken(reading) == [50, 51]
        assert reading.positions == {0: 52}
        brokers.deaf.clear()


async def test_each_request_names_the_leaders_epoch_and_that_of_the_batch_read_last() -> None:
    brokers = Brokers()
    async with fetching(brokers, {0: 0}) as reading:
        brokers.answer(OLD, response(batch(0, 3, epoch=4)))
        assert await taken(reading) == [0, 1, 2]
        await brokers.requests(2)
        reading.restart(0, 1)
        await brokers.requests(3)
        assert [wanted[0] for _, wanted in brokers.asked] == [
            FetchPosition(0, 5, -1),
            FetchPosition(3, 5, 4),
            FetchPosition(1, 5, -1),
        ]


async def test_a_log_that_parts_from_what_was_read_is_a_lost_position() -> None:
    brokers = Brokers()
    async with fetching(brokers, {0: 30}) as reading:
        brokers.answer(OLD, response(tags={0: struct.pack(">iqB", 4, 25, 0)}))
        async with asyncio.timeout(5):
            await reading.news.wait()
        assert [(lost.offset, lost.parted_at) for lost in reading.lost.values()] == [(30, 25)]


async def test_a_place_that_the_leader_does_not_have_is_a_lost_position_until_another_is_given() -> None:
    brokers = Brokers()
    async with fetching(brokers, {0: 30}) as reading:
        brokers.answer(OLD, response(code=OUT_OF_RANGE))
        async with asyncio.timeout(5):
            await reading.news.wait()
        assert [(lost.offset, lost.parted_at) for lost in reading.lost.values()] == [(30, None)]
        await settled()
        assert len(brokers.asked) == 1
        reading.restart(0, 12)
        await brokers.requests(2)
        assert brokers.asked[1] == (OLD, {0: FetchPosition(12, 5)})


@pytest.mark.parametrize("how", ["code", "connection"])
async def test_a_broker_that_does_not_lead_is_asked_again_after_a_pause(how: str) -> None:
    brokers = Brokers()
    async with fetching(brokers, {0: 30}) as reading:
        if how == "code":
            brokers.answer(OLD, response(code=FENCED_LEADER_EPOCH))
        else:
            brokers.fail(OLD)
        await brokers.requests(2)
        assert reading.positions == {0: 30}


async def test_while_a_broker_does_not_answer_the_others_are_asked_who_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.kafka.fetching._OVERDUE", 0.01)
    brokers = Brokers()
    async with fetching(brokers, {0: 0}):
        async with asyncio.timeout(5):
            while brokers.refreshed < 2:
                await asyncio.sleep(0.005)
        assert len(brokers.asked) == 1


async def test_a_damaged_batch_is_fetched_again() -> None:
    brokers = Brokers()
    async with fetching(brokers, {0: 0}) as reading:
        damaged = bytearray(batch(0, 3, epoch=5))
        damaged[-1] ^= 0xFF
        brokers.answer(OLD, response(bytes(damaged)))
        async with asyncio.timeout(5):
            await reading.news.wait()
        assert offsets(reading) == []
        assert "damaged" in next(iter(brokers.problems.values()))
        await brokers.requests(2)
        assert brokers.asked[1][1] == {0: FetchPosition(0, 5)}
