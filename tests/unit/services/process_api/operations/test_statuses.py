"""The statuses of several replicas, on the bus in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from services.process_api.operations.activity import Activity
from services.process_api.operations.statuses import Held, PartitionStatus, ReplicaStatus, Statuses
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing
from shared.bus.topics import TopicsOptions
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks

TOPICS = TopicsOptions()


class FastClock(SystemClock):
    """Sleeps a thousandth of the time, and can be moved."""

    offset = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.offset

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 1000)


@dataclass
class Replica:
    node: str
    clock: FastClock = field(default_factory=FastClock)
    partitions: dict[int, PartitionStatus] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.statuses = Statuses(TOPICS.process_status, self.node, self.status, self.clock)

    def status(self) -> ReplicaStatus:
        return ReplicaStatus(self.node, 1.0, {"orders": Activity("v")}, dict(self.partitions))

    @contextlib.asynccontextmanager
    async def running(self, bus: MemoryBus) -> AsyncIterator[None]:
        async with asyncio.timeout(60), Tasks() as tasks:
            tasks.keep("follow", self.statuses.follow(bus))
            tasks.keep("publish", self.statuses.publish(bus))
            yield

    async def knows(self, *nodes: str) -> None:
        while sorted(status.node for status in self.statuses.all()) != sorted(nodes):
            await asyncio.sleep(0.001)


async def test_replicas_know_each_other_at_once_and_see_what_changes() -> None:
    bus, a, b = MemoryBus(), Replica("a"), Replica("b")
    await bus.ensure_topics(TOPICS.all())
    async with a.running(bus), b.running(bus):
        await a.knows("a", "b")
        await b.knows("a", "b")
        held = Held("orders", "steps.0.enrich", "no answer", 2.0)
        b.partitions[3] = PartitionStatus(7, 1.0, held)
        async with asyncio.timeout(60):
            while not (found := a.statuses.all()[1].partitions):
                await asyncio.sleep(0.001)
        assert found == {3: PartitionStatus(7, 1.0, held)}


async def test_a_replica_that_is_silent_is_taken_for_gone() -> None:
    bus, a, b = MemoryBus(), Replica("a"), Replica("b")
    await bus.ensure_topics(TOPICS.all())
    async with a.running(bus):
        async with b.running(bus):
            await a.knows("a", "b")
        a.clock.offset = 16.0
        await a.knows("a")


async def test_a_status_of_another_release_is_ignored() -> None:
    bus, a, b = MemoryBus(), Replica("a"), Replica("b")
    await bus.ensure_topics(TOPICS.all())
    async with a.running(bus), b.running(bus):
        await a.knows("a", "b")
        async with bus.appender() as appender:
            unreadable = (b'{"node": 1}', b'{"node":"\xff"}', b'{"a":' + b"[" * 100_000, None)
            await appender.append(TOPICS.process_status, [Outgoing(b"c", value) for value in unreadable])
        b.partitions[0] = PartitionStatus(1, 1.0)
        while not a.statuses.all()[1].partitions:
            await asyncio.sleep(0.001)
        await a.knows("a", "b")


async def test_a_replica_that_starts_knows_at_once_which_others_run() -> None:
    bus, a, b = MemoryBus(), Replica("a"), Replica("b")
    await bus.ensure_topics(TOPICS.all())
    async with a.running(bus):
        await a.knows("a")
        while not bus.records(TOPICS.process_status, 0):
            await asyncio.sleep(0.001)
    async with asyncio.timeout(60), Tasks() as tasks:
        tasks.keep("follow", b.statuses.follow(bus))
        while not b.statuses.is_known:
            await asyncio.sleep(0.001)
        await b.knows("a", "b")
        b.clock.offset = 16.0
        await b.knows("b")
