import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from services.experience_api.latest.copying import Copier, CopyCounts
from services.experience_api.latest.options import LatestOptions
from services.experience_api.latest.subjects import Kept
from services.experience_api.latest.view import View
from shared.bus.memory import MemoryBus
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Outgoing, TopicOptions
from shared.lease import Leases, MemoryLeaseStore
from shared.runtime.tasks import Tasks
from tests.unit.services.experience_api.clocks import StillClock
from tests.unit.services.experience_api.latest.memory import MemoryLatest
from tests.unit.services.experience_api.stream.readers import BusWithHole

TOPIC = "trelay.publish"
OPTIONS = LatestOptions(channels=("**",))


class Replica:
    """A replica that copies, and the table."""

    def __init__(self) -> None:
        self.bus: MemoryBus = MemoryBus()
        self.clock, self.latest = StillClock(), MemoryLatest()
        self.leases = MemoryLeaseStore()
        self.counts = CopyCounts()

    @asynccontextmanager
    async def running(self, options: LatestOptions = OPTIONS) -> AsyncIterator[None]:
        copier = Copier(self.latest, Leases(self.leases, "one"), options, self.clock, self.counts, TOPIC)
        async with Tasks() as tasks:
            tasks.keep("copier", copier.run(self.bus))
            yield

    async def append(self, *subjects: str, kind: str = "state") -> None:
        values = [b'{"source":"/s","subject":"%b","type":"%b"}' % (each.encode(), kind.encode()) for each in subjects]
        async with self.bus.appender() as appender:
            await appender.append(TOPIC, [Outgoing(b"a", value) for value in values])

    @property
    def view(self) -> View | None:
        return None if self.latest.stored is None else self.latest.stored.view

    async def until_copied(self, count: int) -> None:
        """Wait until so many records are copied."""
        async with asyncio.timeout(60):
            while self.view is None or sum(self.view.positions) < count:
                self.clock.pass_time(0.3)
                await asyncio.sleep(0)


@pytest.fixture
async def replica() -> Replica:
    replica = Replica()
    await replica.bus.ensure_topics([TopicOptions(name=TOPIC, partitions=2)])
    return replica


async def test_the_latest_events_and_the_positions_are_copied(replica: Replica) -> None:
    await replica.append("1", "2", "1")
    async with replica.running():
        await replica.until_copied(3)
        assert sorted(row.offset for row in replica.latest.rows.values()) == [1, 2]
        assert sum(replica.counts.positions.values()) == 3
        await replica.append("2", kind="state.deleted")
        await replica.until_copied(4)
        assert [row.offset for row in replica.latest.rows.values()] == [2]
    assert replica.counts.written == 3
    assert replica.counts.positions == {}


async def test_copying_goes_on_behind_a_hole_that_the_bounds_do_not_show(replica: Replica) -> None:
    partition = partition_of(b"a", 2)
    replica.bus = BusWithHole(partition, range(2))
    await replica.bus.ensure_topics([TopicOptions(name=TOPIC, partitions=2)])
    await replica.append("1", "2", "3")
    async with replica.running():
        await replica.until_copied(3)
    assert [row.offset for row in replica.latest.rows.values()] == [2]
    assert replica.view is not None
    assert replica.view.missed == 2


async def test_a_backlog_is_copied_without_pauses(replica: Replica) -> None:
    await replica.append(*map(str, range(6000)))
    async with replica.running(LatestOptions(channels=("**",), interval=60)), asyncio.timeout(60):
        while replica.counts.written < 6000:  # no time passes
            await asyncio.sleep(0)


async def test_after_an_outage_copying_continues_where_it_was(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.experience_api.latest.copying")
    replica.latest.unavailable = 3
    async with replica.running():
        await replica.append("1")
        await replica.until_copied(1)
    assert [each.message for each in caplog.records] == [
        "latest events not copied; will retry",
        "latest events copied again",
    ]


async def test_what_another_replica_has_copied_is_not_copied_again(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "services.experience_api.latest.copying")
    async with replica.running():
        await replica.append("1")
        await replica.until_copied(1)
        stored = replica.latest.stored
        assert stored is not None
        await replica.append("2", "3")
        replica.latest.stored = stored._replace(
            view=stored.view._replace(positions=tuple(2 * each for each in stored.view.positions))
        )
        await replica.until_copied(3)
    assert "latest events copied by another replica" in [each.message for each in caplog.records]
    assert sorted(row.offset for row in replica.latest.rows.values()) == [0, 2]  # the other one has not written


async def test_a_recreated_topic_begins_a_generation(replica: Replica) -> None:
    await replica.append("1", "2")
    async with replica.running():
        await replica.until_copied(2)
        replica.bus.delete_topic(TOPIC)
        await replica.bus.ensure_topics([TopicOptions(name=TOPIC, partitions=2)])
        await replica.append("1")
        async with asyncio.timeout(60):
            while not any(row.generation == 2 for row in replica.latest.rows.values()):
                replica.clock.pass_time(1)
                await asyncio.sleep(0)
    assert sorted((row.generation, row.offset) for row in replica.latest.rows.values()) == [(1, 1), (2, 0)]


async def test_a_topic_counts_as_truncated_only_once_that_is_certain(replica: Replica) -> None:
    await replica.append("1", "2")
    async with replica.running():
        await replica.until_copied(2)
    stored = replica.latest.stored
    assert stored is not None
    replica.latest.stored = stored._replace(view=stored.view._replace(positions=(9, 9)))
    asked: list[bool] = []
    begin = replica.latest.begin

    async def recording(epoch: str, bounds: Mapping[int, tuple[int, int]], kept: Kept, *, shorter: bool) -> View:
        asked.append(shorter)
        return await begin(epoch, bounds, kept, shorter=shorter)

    replica.latest.begin = recording  # type: ignore[method-assign]
    async with replica.running():
        async with asyncio.timeout(60):
            while replica.view is None or replica.view.generation == 1:
                replica.clock.pass_time(0.3)
                await asyncio.sleep(0)
    assert asked == [False, False, False, True]


async def test_records_that_were_removed_before_they_were_copied_are_counted(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    async with replica.running():
        await replica.append("0")
        await replica.until_copied(1)
        partition = 0 if replica.view and replica.view.positions[0] else 1
        await replica.append("1", "2", "3")
        replica.bus.delete_records(TOPIC, partition, 3)
        await replica.until_copied(4)
    assert replica.view is not None
    assert replica.view.missed == 2
    assert "lost position in publish topic" in [each.message for each in caplog.records]
