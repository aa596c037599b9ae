"""Watermarks of sources become those of channels, on the bus in memory."""

import asyncio
from dataclasses import dataclass, field

from services.process_api.operations.activity import Activities
from services.process_api.operations.statuses import ReplicaStatus
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.watermarks.passing import Watched, Watermarks
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TopicPartition, Transaction
from shared.bus.topics import TopicsOptions
from shared.events.watermark import Watermark, read_watermark, vector
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks
from tests.unit.services.process_api.making import pipeline, selection

TOPICS = TopicsOptions(partitions=2)
GROUP = "trelay.process"


@dataclass
class Layer:
    """The watermarks of a process layer whose workers are the test."""

    pipelines: list[Pipeline] = field(default_factory=lambda: [pipeline()])
    partitions: list[int] = field(default_factory=lambda: [0, 1])
    others: list[dict[str, str]] = field(default_factory=list)
    """The pipelines of other replicas, with their versions."""
    bus: MemoryBus = field(default_factory=MemoryBus)
    read: int = 0
    """Records of the topic of watermarks that it has taken."""

    def __post_init__(self) -> None:
        watched = Watched(lambda: selection(*self.pipelines), lambda: self.partitions, self.statuses)
        self.watermarks = Watermarks(TOPICS, GROUP, watched, SYSTEM_CLOCK)

    def statuses(self) -> list[ReplicaStatus]:
        own = {each.name: each.version for each in self.pipelines}
        activities = Activities(SYSTEM_CLOCK)
        return [ReplicaStatus(str(n), 0.0, activities.measure(each), {}) for n, each in enumerate([own, *self.others])]

    async def look(self) -> list[Watermark]:
        """Let it look once; return what it has written so far."""
        records = self.bus.records(TOPICS.watermarks, 0)
        self.watermarks.take(records[self.read :])
        self.read = len(records)
        async with self.bus.appender() as appender:
            await self.watermarks.pass_on(self.bus, appender)
        return self.written()

    async def write(self, topic: str, keys: str) -> None:
        async with self.bus.appender() as appender:
            await appender.append(topic, [Outgoing(key.encode(), b"{}") for key in keys])

    async def mark(self, as_of: int, topic: str = TOPICS.ingest) -> None:
        epoch, ends = await self.bus.epoch(topic), vector(await self.bus.ends(topic))
        async with self.bus.appender() as appender:
            mark = Watermark("orders", as_of, topic, epoch, ends)
            await appender.append(TOPICS.watermarks, [Outgoing(b"?", b"not one"), mark.record()])

    async def process(self, *partitions: int, less: int = 0) -> None:
        """Commit the ends of partitions of the ingest topic, or offsets that are `less`."""
        ends, transaction = await self.bus.ends(TOPICS.ingest), Transaction()
        for number in partitions:
            transaction.commit_offset(GROUP, TopicPartition(TOPICS.ingest, number), ends[number] - less)
        async with self.bus.writer("process.0") as writer:
            await writer.commit(transaction)

    def written(self) -> list[Watermark]:
        values = [record.value for record in self.bus.records(TOPICS.watermarks, 0) if record.key != b"?"]
        return [mark for mark in map(read_watermark, values) if mark.topic == TOPICS.publish]


async def opened(layer: Layer) -> Layer:
    await layer.bus.ensure_topics(TOPICS.all())
    await layer.write(TOPICS.ingest, "abcdef")
    await layer.mark(7)
    return layer


async def test_it_is_written_once_all_partitions_are_processed() -> None:
    layer = await opened(Layer())
    assert await layer.look() == []
    await layer.process(0)
    await layer.process(1, less=1)
    assert await layer.look() == []
    await layer.write(TOPICS.publish, "xyz")
    await layer.process(1)
    [mark] = await layer.look()
    assert (mark.source, mark.as_of, mark.channels) == ("orders", 7, ["orders"])
    assert mark.epoch == await layer.bus.epoch(TOPICS.publish)
    assert mark.ends == vector(await layer.bus.ends(TOPICS.publish))
    assert await layer.look() == [mark]


async def test_a_partition_without_a_commit_is_processed_up_to_its_beginning() -> None:
    layer = Layer()
    await layer.bus.ensure_topics(TOPICS.all())
    await layer.mark(7)
    assert [mark.as_of for mark in await layer.look()] == [7]
    await layer.write(TOPICS.ingest, "abcdef")
    await layer.mark(8)
    assert [mark.as_of for mark in await layer.look()] == [7]


async def test_what_left_the_first_part_is_waited_for() -> None:
    layer = await opened(Layer([pipeline({"repartition": "n"})]))
    ends = await layer.bus.ends(TOPICS.ingest)
    await layer.process(0, 1)
    await layer.write(TOPICS.ingest, "gh")
    assert await layer.look() == []
    assert await layer.look() == []
    await layer.process(0, 1)
    assert [mark.as_of for mark in await layer.look()] == [7]
    assert await layer.bus.ends(TOPICS.ingest) != ends


async def test_one_replica_writes() -> None:
    layer = await opened(Layer(partitions=[1]))
    await layer.process(0, 1)
    assert await layer.look() == []
    layer.partitions = [0]
    assert len(await layer.look()) == 1


async def test_none_is_written_while_replicas_run_other_pipelines() -> None:
    made = pipeline()
    for other in ({}, {"orders": "0000"}, {"orders": made.version, "more": "1111"}):
        layer = await opened(Layer([made], others=[{"orders": made.version}, other]))
        await layer.process(0, 1)
        assert await layer.look() == []
        layer.others = [{"orders": made.version}]
        assert len(await layer.look()) == 1


async def test_none_is_written_where_the_channels_are_not_certain() -> None:
    layer = await opened(Layer([pipeline({"route": "n"})]))
    await layer.process(0, 1)
    assert await layer.look() == []
    layer.pipelines = [pipeline()]
    assert await layer.look() == []
    await layer.mark(8)
    assert [mark.as_of for mark in await layer.look()] == [8]


async def test_those_about_the_publish_topic_are_left_alone() -> None:
    layer = Layer()
    await layer.bus.ensure_topics(TOPICS.all())
    await layer.mark(7, TOPICS.publish)
    assert len(await layer.look()) == 1


async def test_it_follows_the_topic_until_cancelled() -> None:
    layer = Layer()
    await layer.bus.ensure_topics(TOPICS.all())
    async with Tasks() as tasks, asyncio.timeout(60):
        tasks.keep("watermarks", layer.watermarks.run(layer.bus))
        while not layer.written():
            await layer.mark(7)
            await asyncio.sleep(0.01)
