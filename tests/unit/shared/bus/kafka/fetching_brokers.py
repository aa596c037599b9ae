"""Brokers whose responses a test gives, for what fetches."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

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
