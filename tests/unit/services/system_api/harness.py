"""A poller with a bus in memory, leases that can be taken away, and recorded alerts."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from services.system_api.operations.controls import Controls
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.replicas.membership import Turn
from services.system_api.sources.source import Batch, Checkpoint, EventBuilder, Source, SourceOpener, SourceOptions
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.topics import TopicsOptions
from shared.events.event import Channel
from shared.lease import Granted, Leases, MemoryLeaseStore, Taken
from shared.runtime.clock import SystemClock
from shared.runtime.retry import RetryOptions
from shared.runtime.tasks import Tasks

TOPICS = TopicsOptions(partitions=1)
OPTIONS = SourceOptions(
    type="number.seen",
    channel=Channel("numbers"),
    interval=0.005,
    batch=10,
    retry=RetryOptions(attempts=3, first_wait=0.1, longest_wait=5),
)


class InstantClock(SystemClock):
    """Does not sleep, and records the seconds it was asked for."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class BriefClock(SystemClock):
    """Sleeps for 10 ms at most: leases are renewed so often that none expires on a slow machine."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))


class StealableLeases(MemoryLeaseStore):
    """Leases that another replica can take away, and that can be unavailable."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.granted: list[str] = []

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        if self.error is not None:
            raise self.error
        answer = await super().acquire(name, owner, ttl)
        if isinstance(answer, Granted):
            self.granted.append(name)
        return answer

    async def take_away(self, name: str) -> int:
        """Give the lease to another replica; return its epoch."""
        held = self.peek(name)
        assert held is not None
        await self.release(name, "us", held[0])
        answer = await super().acquire(name, "them", 60)
        assert isinstance(answer, Granted)
        return answer.epoch


class Numbers:
    """A source that counts: event n has the position n. `before` is called before each poll."""

    def __init__(self, start: int, last: int, before: Callable[[int], Awaitable[None]]) -> None:
        self.next = start
        self.last = last
        self.settled: list[list[int]] = []
        self._before = before
        self._builder = EventBuilder("numbers", "number.seen", Channel("numbers"), SystemClock(), random.Random(1))

    async def poll(self, limit: int) -> Batch:
        await self._before(self.next)
        batch = Batch()
        self._builder.begin_batch()
        while self.next <= self.last and len(batch.records) < limit:
            batch.records.append(self._builder.event(str(self.next), "n", b"%d" % self.next))
            self.next += 1
        if batch.records:
            batch.checkpoint[""] = b"%d" % (self.next - 1)
        batch.more = self.next <= self.last
        return batch

    async def wait_for_change(self) -> None:
        await asyncio.Event().wait()


async def nothing(_next: int) -> None:
    return


@dataclass
class Harness:
    """A poller and its dependencies."""

    bus: MemoryBus = field(default_factory=MemoryBus)
    store: StealableLeases = field(default_factory=StealableLeases)
    operations: MemorySourceStore = field(default_factory=MemorySourceStore)
    clock: InstantClock = field(default_factory=InstantClock)
    alerts: RecordingAlerts = field(default_factory=RecordingAlerts)
    opened: list[Source] = field(default_factory=list)
    last: int = 25
    before: Callable[[int], Awaitable[None]] = nothing

    def poller(
        self, options: SourceOptions = OPTIONS, open_source: SourceOpener | None = None, turn: Turn | None = None
    ) -> Poller:
        reporter = Reporter("numbers", self.alerts, SystemMetrics(CollectorRegistry(), ["numbers"]), self.clock)
        context = SourceContext(self.bus, TOPICS, self.clock, random.Random(1))
        leases = Leases(self.store, "us", clock=BriefClock())
        self.controls = Controls(self.operations, ["numbers"])
        control = self.controls.of("numbers")
        return Poller(options, open_source or self.open, leases, context, reporter, control, turn or Turn(granted=True))

    @contextlib.asynccontextmanager
    async def open(self, checkpoint: Checkpoint) -> AsyncIterator[Source]:
        source = Numbers(int(checkpoint.get("", b"0")) + 1, self.last, self.before)
        self.opened.append(source)
        yield source

    @contextlib.asynccontextmanager
    async def running(self, poller: Poller) -> AsyncIterator[Poller]:
        await self.bus.ensure_topics(TOPICS.all())
        async with Tasks() as tasks:
            tasks.keep("controls", self.controls.follow())
            tasks.keep("poller", poller.run())
            yield poller

    def published(self) -> list[bytes]:
        return [(record.value or b"").rpartition(b'"data":')[2][:-1] for record in self.bus.records(TOPICS.publish, 0)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.001)


def numbers(last: int) -> list[bytes]:
    return [b"%d" % n for n in range(1, last + 1)]
