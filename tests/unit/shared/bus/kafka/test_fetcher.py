"""Responses that arrive after the leader has moved, and logs that were truncated."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.batches import Encoder, ProducerIdAndEpoch
from shared.bus.kafka.client.cluster import Cluster, TopicMetadata
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.fetcher import Fetcher
from shared.bus.kafka.wire.fetch import FetchedPartition, FetchPosition, FetchResponse
from shared.bus.protocol import Outgoing
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks
from tests.unit.shared.bus.kafka.wire.fetch_schemas import SchemaRequest

OLD, NEW = Broker("old", 1), Broker("new", 2)
NONE, OUT_OF_RANGE, FENCED_LEADER_EPOCH = 0, 1, 74


def batch(first: int, count: int, epoch: int) -> bytes:
    """Return one batch as a broker stores it: offsets from `first` on, written by the leader of `epoch`."""
    records = [Outgoing(b"k", str(first + number).encode()) for number in range(count)]
    [made] = Encoder(ProducerIdAndEpoch(1, 0), "none", transactional=False).encode("t", 0, records, 1)
    content = bytearray(made.content)
    struct.pack_into(">q", content, 0, first)
    struct.pack_into(">i", content, 12, epoch)
    return bytes(content)


def response(content: bytes = b"", code: int = NONE, partition: int = 0, diverging: int | None = None) -> FetchResponse:
    return FetchResponse(NONE, [FetchedPartition(partition, code, 100, 100, (), content, diverging)])


@dataclass
class Brokers:
    """Brokers whose responses the test gives; the connections to them, and the metadata of the topic."""

    leaders: dict[int, Broker | None] = field(default_factory=lambda: {0: OLD})
    epochs: dict[int, int] = field(default_factory=lambda: {0: 5})
    requests: list[tuple[Broker, dict[int, FetchPosition]]] = field(default_factory=list)
    dropped: list[Broker] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    clock: Any = SYSTEM_CLOCK
    transaction_timeout: float = 60.0
    refreshed: int = 0
    _open: dict[Broker, asyncio.Future[Any]] = field(default_factory=dict)
    _events: set[asyncio.Event] = field(default_factory=set)

    # What `Fetcher` uses of a `Cluster`.

    def connections(self) -> "Brokers":
        return self

    async def topic(self, name: str) -> TopicMetadata:
        return TopicMetadata(name, "e", dict(self.leaders), dict(self.epochs))

    async def refresh(self, topics: list[str]) -> None:
        self.refreshed += 1

    def invalidate(self, topics: list[str]) -> None:
        pass

    @contextmanager
    def watch_leaders(self, topic: str, changed: asyncio.Event) -> Iterator[None]:
        self._events.add(changed)
        yield

    # What it uses of `BrokerConnections`. As in reality, a response may arrive although its connection was dropped.

    async def send(self, broker: Broker, request: Any) -> Any:
        form = SchemaRequest.decode(request.prepare({1: (4, 17)}).encode())
        [(_, partitions, _)] = form.topics
        requested = {number: FetchPosition(offset, epoch, last) for number, epoch, offset, last, *_ in partitions}
        self._open[broker] = asyncio.get_running_loop().create_future()
        self.requests.append((broker, requested))
        while True:
            try:
                return await asyncio.shield(self._open[broker])
            except asyncio.CancelledError:
                if broker not in self.ignoring_cancellation:
                    raise

    ignoring_cancellation: set[Broker] = field(default_factory=set)
    """Requests to these continue although they are cancelled, as one does whose response is being read already."""

    def drop(self, broker: Broker) -> None:
        self.dropped.append(broker)

    async def close(self) -> None:
        pass

    # What the tests call.

    def answer(self, broker: Broker, given: Any) -> None:
        self._open.pop(broker).set_result(given)

    def fail(self, broker: Broker) -> None:
        self._open.pop(broker).set_exception(KafkaConnectionError("gone"))

    def move(self, partition: int, leader: Broker | None) -> None:
        self.leaders[partition] = leader
        self.epochs[partition] += 1
        for event in self._events:
            event.set()

    async def until_requested(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.requests) < count:
                await asyncio.sleep(0)


@asynccontextmanager
async def running(brokers: Brokers, positions: Mapping[int, int]) -> AsyncIterator[Fetcher]:
    async with Tasks() as tasks:
        fetcher = Fetcher(cast("Cluster", brokers), "t", positions, tasks)
        tasks.keep("fetch", fetcher.run())
        await brokers.until_requested(1)
        yield fetcher
        for left in list(brokers._open.values()):
            left.cancel()


async def run_all() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def offsets(fetcher: Fetcher) -> list[int]:
    return [record.offset for record in fetcher.take(100)]


async def taken(fetcher: Fetcher) -> list[int]:
    async with asyncio.timeout(60):
        while not (found := offsets(fetcher)):
            fetcher.updated.clear()
            await fetcher.updated.wait()
    return found


@pytest.mark.parametrize("ignoring_cancellation", [False, True])
async def test_a_response_of_a_leader_that_was_replaced_is_discarded(ignoring_cancellation: bool) -> None:
    brokers = Brokers(ignoring_cancellation={OLD} if ignoring_cancellation else set())
    async with running(brokers, {0: 0}) as fetcher:
        brokers.move(0, NEW)
        await brokers.until_requested(2)
        brokers.answer(NEW, response(batch(0, 20, epoch=6)))
        assert await taken(fetcher) == list(range(20))
        brokers.answer(OLD, response(batch(0, 9, epoch=5)))
        await run_all()
        assert offsets(fetcher) == []
        assert fetcher.positions == {0: 20}
        brokers.ignoring_cancellation.clear()


async def test_the_connection_to_a_leader_that_was_replaced_is_dropped() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}):
        brokers.move(0, NEW)
        await brokers.until_requested(2)
        assert brokers.dropped == [OLD]


async def test_partitions_that_an_old_leader_still_leads_are_requested_again() -> None:
    brokers = Brokers(leaders={0: OLD, 1: OLD}, epochs={0: 5, 1: 2})
    async with running(brokers, {0: 0, 1: 7}):
        brokers.move(0, NEW)
        await brokers.until_requested(3)
        assert sorted(brokers.requests[1:]) == [(NEW, {0: FetchPosition(0, 6)}), (OLD, {1: FetchPosition(7, 2)})]


async def test_no_connection_is_dropped_while_there_is_no_leader() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        brokers.move(0, None)
        await run_all()
        assert brokers.dropped == []
        brokers.answer(OLD, response(batch(0, 3, epoch=5)))
        assert await taken(fetcher) == [0, 1, 2]


async def test_a_response_for_another_position_than_the_current_one_is_discarded() -> None:
    brokers = Brokers(ignoring_cancellation={OLD})
    async with running(brokers, {0: 0}) as fetcher:
        first = brokers._open[OLD]
        fetcher.seek(0, 50)
        await brokers.until_requested(2)
        first.set_result(response(batch(0, 9, epoch=5)))
        brokers.answer(OLD, response(batch(50, 2, epoch=5)))
        assert await taken(fetcher) == [50, 51]
        assert fetcher.positions == {0: 52}
        brokers.ignoring_cancellation.clear()


async def test_each_request_has_the_epochs_of_the_leader_and_of_the_batch_read_last() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        brokers.answer(OLD, response(batch(0, 3, epoch=4)))
        assert await taken(fetcher) == [0, 1, 2]
        await brokers.until_requested(2)
        fetcher.seek(0, 1)
        await brokers.until_requested(3)
        assert [wanted[0] for _, wanted in brokers.requests] == [
            FetchPosition(0, 5, -1),
            FetchPosition(3, 5, 4),
            FetchPosition(1, 5, -1),
        ]


async def test_a_diverging_log_is_a_lost_position() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 30}) as fetcher:
        brokers.answer(OLD, response(diverging=25))
        async with asyncio.timeout(60):
            await fetcher.updated.wait()
        assert [(lost.offset, lost.diverging_offset) for lost in fetcher.lost.values()] == [(30, 25)]


async def test_a_position_that_the_leader_does_not_have_is_lost_until_a_seek() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 30}) as fetcher:
        brokers.answer(OLD, response(code=OUT_OF_RANGE))
        async with asyncio.timeout(60):
            await fetcher.updated.wait()
        assert [(lost.offset, lost.diverging_offset) for lost in fetcher.lost.values()] == [(30, None)]
        await run_all()
        assert len(brokers.requests) == 1
        fetcher.seek(0, 12)
        await brokers.until_requested(2)
        assert brokers.requests[1] == (OLD, {0: FetchPosition(12, 5)})


@pytest.mark.parametrize("how", ["code", "connection"])
async def test_a_fetch_is_repeated_after_a_pause_if_the_broker_is_not_the_leader(how: str) -> None:
    brokers = Brokers()
    async with running(brokers, {0: 30}) as fetcher:
        if how == "code":
            brokers.answer(OLD, response(code=FENCED_LEADER_EPOCH))
        else:
            brokers.fail(OLD)
        await brokers.until_requested(2)
        assert fetcher.positions == {0: 30}


async def test_while_a_leader_does_not_answer_the_others_are_asked_for_the_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.bus.kafka.fetcher._OVERDUE_AFTER", 0.01)
    brokers = Brokers()
    async with running(brokers, {0: 0}):
        async with asyncio.timeout(60):
            while brokers.refreshed < 2:
                await asyncio.sleep(0.005)
        assert len(brokers.requests) == 1


async def test_a_corrupt_batch_is_fetched_again() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        corrupt = bytearray(batch(0, 3, epoch=5))
        corrupt[-1] ^= 0xFF
        brokers.answer(OLD, response(bytes(corrupt)))
        async with asyncio.timeout(60):
            await fetcher.updated.wait()
        assert offsets(fetcher) == []
        assert "corrupt" in next(iter(brokers.problems.values()))
        await brokers.until_requested(2)
        assert brokers.requests[1][1] == {0: FetchPosition(0, 5)}
