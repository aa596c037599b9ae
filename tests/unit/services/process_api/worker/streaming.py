"""A stream on the bus in memory, which can be made to fail, to be slow, and to have another limit."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from services.process_api.operations.controls import Controls
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from services.process_api.state.store import Stores
from services.process_api.worker.filler import TransactionOptions
from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.stream import Stream
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TopicPartition, Transaction, Writer, size_of
from shared.bus.topics import TopicsOptions
from shared.errors import TooLarge, TrelayError
from shared.events.headers import headers_of
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks
from tests.unit.services.process_api.making import event, pipeline

TOPICS = TopicsOptions(partitions=2)
MEMBER = "replica-0"


class FailingBus(MemoryBus):
    """A `MemoryBus` whose writers of this stream fail on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[Transaction] = []
        self.opened = 0
        """Writers of the stream that were opened."""
        self.limit = 10**9
        """Bytes of the largest record that it takes."""
        self.fail: Callable[[int], TrelayError | None] = lambda _number: None
        """Returns the error of the transaction of this number, or None; raised when it would become visible."""
        self.gate = asyncio.Event()
        """No transaction becomes visible before it is set."""
        self.gate.set()

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        async with super().writer(name) as writer:
            self.opened += name.startswith("process.")
            yield FailingWriter(self, writer) if name.startswith("process.") else writer


class FailingWriter:
    def __init__(self, bus: FailingBus, writer: Writer) -> None:
        self._bus = bus
        self._writer = writer
        self._before: asyncio.Future[None] | None = None

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        number = len(self._bus.submitted)
        self._bus.submitted.append(transaction)
        self._before = asyncio.ensure_future(self._commit(number, transaction, self._before))
        # The caller need not await it.
        self._before.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._before

    async def commit(self, transaction: Transaction) -> None:
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        return await self._writer.committed(group, position)

    async def _commit(self, number: int, transaction: Transaction, before: asyncio.Future[None] | None) -> None:
        await self._bus.gate.wait()
        if before is not None:
            await asyncio.shield(before)
        error = self._bus.fail(number)
        for outgoing in (each for batch in transaction.records.values() for each in batch):
            if size_of(outgoing) > self._bus.limit:
                error = TooLarge(f"a record of {size_of(outgoing)} bytes, the limit is {self._bus.limit}")
        if error is not None:
            raise error
        await self._writer.commit(transaction)


@dataclass
class Setting:
    """A stream and its dependencies."""

    bus: FailingBus = field(default_factory=FailingBus)
    alerts: RecordingAlerts = field(default_factory=RecordingAlerts)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    pipelines: list[Pipeline] = field(default_factory=lambda: [pipeline()])
    options: TransactionOptions = field(default_factory=TransactionOptions)
    clock: Clock = SYSTEM_CLOCK
    stores: Stores | None = None

    def __post_init__(self) -> None:
        self.controls = Controls(TOPICS.pipelines, self.clock)
        self.reporter = Reporter(self.alerts, ProcessMetrics(self.registry, self.pipelines, SYSTEM_CLOCK), self.clock)

    def replace(self, *pipelines: Pipeline) -> None:
        """Let the running streams use these pipelines from the next batch on."""
        self.selection = Selection([(["orders", "orders-*"], each) for each in pipelines])

    def stream(self) -> Stream:
        self.replace(*self.pipelines)
        return Stream(
            self.bus,
            TOPICS,
            lambda: self.selection,
            self.options,
            self.reporter,
            self.clock,
            stores=self.stores,
            controls=self.controls,
        )

    @contextlib.asynccontextmanager
    async def running(self, member: str = MEMBER) -> AsyncIterator[Stream]:
        await self.bus.ensure_topics(TOPICS.all())
        self.controls = Controls(TOPICS.pipelines, self.clock)
        stream = self.stream()
        async with Tasks() as tasks:
            tasks.keep("controls", self.controls.follow(self.bus))
            await self.controls.known()
            async with self._joined(stream, member):
                yield stream

    @contextlib.asynccontextmanager
    async def _joined(self, stream: Stream, member: str) -> AsyncIterator[Stream]:
        async with self.bus.join(TOPICS.ingest, stream.group, member, stream.run_partition):
            yield stream

    async def ingest(self, *numbers: int, subject: str = "C-1", source: str = "orders", **data: Any) -> None:
        """Write one event for each number, in one transaction; `attributes` are further ones of the events."""
        attributes = data.pop("attributes", {})
        await self.bus.ensure_topics(TOPICS.all())
        transaction = Transaction()
        for number in numbers:
            value = event({"n": number, **data}, id=f"{source}:{number}", subject=subject, **attributes)
            provenance = f"{source} 1700000000000 {source}:{number}".encode()
            transaction.append(TOPICS.ingest, subject.encode(), value, headers_of(provenance))
        async with self.bus.writer("system.orders") as writer:
            await writer.commit(transaction)

    async def write(self, *records: Outgoing) -> None:
        """Write any records to the ingest topic."""
        await self.bus.ensure_topics(TOPICS.all())
        async with self.bus.appender() as appender:
            await appender.append(TOPICS.ingest, records)

    def published(self) -> list[int]:
        """The numbers of the events on the publish topic."""
        return [json.loads(record.value or b"")["data"]["n"] for record in self.records(TOPICS.publish)]

    def dead(self) -> list[str]:
        """The errors of the dead letters."""
        return [dict(record.headers)["error"].decode() for record in self.records(TOPICS.dead_letter)]

    def attempts(self) -> list[int]:
        """What the dead letters say of how often they were tried."""
        return [int(dict(record.headers)["attempts"]) for record in self.records(TOPICS.dead_letter)]

    def records(self, topic: str) -> list[Any]:
        partitions = next(options.partitions for options in TOPICS.all() if options.name == topic)
        return [record for number in range(partitions) for record in self.bus.records(topic, number)]

    def sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
