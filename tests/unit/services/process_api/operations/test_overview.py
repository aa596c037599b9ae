"""All pipelines, composed of what the replicas say and of what the bus has."""

import asyncio
from collections.abc import Mapping

import pytest

from services.process_api.operations import overview as module
from services.process_api.operations.activity import Activity, LastError
from services.process_api.operations.controls import Controls, Request
from services.process_api.operations.overview import Overview
from services.process_api.operations.requests import Control, Rewind, control_key, encode, rewind_key
from services.process_api.operations.statuses import Held, PartitionStatus, ReplicaStatus, StateSize, Statuses
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TakeRecords, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks
from tests.unit.services.process_api.making import pipeline, selection

TOPICS = TopicsOptions()


class FixedStatuses(Statuses):
    def __init__(self, *found: ReplicaStatus) -> None:
        self._found = list(found)
        self.is_known = True

    def all(self) -> list[ReplicaStatus]:
        return self._found


def replica(node: str, activity: Activity, partitions: dict[int, PartitionStatus]) -> ReplicaStatus:
    return ReplicaStatus(node, 5.0, {"orders": activity}, partitions)


async def test_replicas_are_added_up_and_the_newest_owner_of_a_partition_counts() -> None:
    held = Held("orders", "steps.0.enrich", "no answer", 3.0)
    statuses = FixedStatuses(
        replica("a", Activity("v1", 3, 2, 1, 0.5, 0.25, LastError("old", "t/0/1", 1.0)), {
            0: PartitionStatus(4, 1.0, state=[StateSize("orders", "steps.0", 2, 30)]), 1: PartitionStatus(4, 1.0, held),
        }),
        replica("b", Activity("v2", 1, 1, 0, 0.25, 0.0, LastError("new", "t/0/2", 2.0)), {
            1: PartitionStatus(4, 2.0, state=[StateSize("orders", "steps.0", 1, 5), StateSize("totals", "s", 9, 9)]),
        }),
        ReplicaStatus("c", 5.0, {}, {2: PartitionStatus(0, 1.0, held)}),
    )  # fmt: skip
    controls = await read_controls(MemoryBus())
    chosen = selection(pipeline(name="orders"), pipeline(name="totals"))
    overview = Overview(lambda: chosen, controls, statuses, TOPICS, "trelay.process", SYSTEM_CLOCK)
    found = await overview.all(None)
    orders = found["orders"]
    assert orders["events"] == {"taken": 4, "published": 3, "dead_letters": 1}
    assert orders["rates"] == {"published_per_second": 0.75, "dead_letters_per_second": 0.25}
    assert orders["last_error"] == {"error": "new", "origin": "t/0/2", "at": "1970-01-01T00:00:02.000Z"}
    assert orders["partitions"] == {"0": {"replica": "a"}, "1": {"replica": "b"}, "2": {"replica": "c"}}
    assert orders["lag"] is None
    assert orders["state_size"] == {"steps.0": {"keys": 3, "bytes": 35}}
    assert orders["held"] == [
        {"partition": 2, "step": "steps.0.enrich", "error": "no answer", "since": "1970-01-01T00:00:03.000Z"}
    ]
    assert [each["version"] for each in orders["replicas"].values()] == ["v1", "v2", None]
    assert (orders["state"], found["totals"]["state"]) == ("held", "running")
    controls.asked.take(control_key("orders"), encode(Control(paused=True, reason="r", by="alice", at=4.0)))
    orders = (await overview.all(None))["orders"]
    assert (orders["state"], orders["paused"]) == (
        "paused", {"by": "alice", "reason": "r", "at": "1970-01-01T00:00:04.000Z"},
    )  # fmt: skip


def rewind(epoch: str) -> Rewind:
    return Rewind("r", epoch, {0: 3}, '"beginning"', reset_state=False, by="alice", at=1.0)


async def read_controls(bus: MemoryBus) -> Controls:
    await bus.ensure_topics(TOPICS.all())
    controls = Controls(TOPICS.pipelines, SYSTEM_CLOCK)
    async with asyncio.timeout(60), Tasks() as tasks:
        tasks.keep("controls", controls.follow(bus))
        await controls.known()
        await tasks.cancel_all()
    return controls


def overview_of(controls: Controls) -> Overview:
    chosen = selection(pipeline(name="orders"))
    return Overview(lambda: chosen, controls, FixedStatuses(), TOPICS, "trelay.process", SYSTEM_CLOCK)


class HiddenEnd(MemoryBus):
    """A bus on which the open transaction of a replica that was killed hides the end of every topic."""

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
        await super().replay(position, offset, each)
        return await asyncio.Event().wait() or 0

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        await asyncio.Event().wait()
        return {}


async def test_a_replica_that_has_not_read_the_requests_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REQUESTS_TIMEOUT", 0.01)
    monkeypatch.setattr(module, "_POSITIONS_TIMEOUT", 0.01)
    bus = HiddenEnd()
    await bus.ensure_topics(TOPICS.all())
    controls = Controls(TOPICS.pipelines, SYSTEM_CLOCK)
    overview = overview_of(controls)
    async with asyncio.timeout(60), Tasks() as tasks:
        tasks.keep("controls", controls.follow(bus))
        found = (await overview.all(bus))["orders"]
        assert (found["state"], found["rewind"], found["lag"]) == ("unknown", None, None)
        assert list(found["unknown"]) == ["requests", "lag"]
        # What the replica has just accepted itself is shown.
        asked = Request(rewind_key("orders"), encode(rewind(await bus.epoch(TOPICS.ingest))))
        found = (await overview.all(bus, asked))["orders"]
        assert (found["rewind"]["id"], found["rewind"]["partitions"]) == ("r", {"0": "pending"})
        found = (await overview.all(bus, Request(control_key("orders"), encode(Control(paused=True)))))["orders"]
        assert (found["state"], list(found["unknown"])) == ("paused", ["requests", "lag"])
        with pytest.raises(Unavailable, match="not read yet"):
            await overview.positions(bus, "orders")
        await tasks.cancel_all()


class NoOffsets(MemoryBus):
    """A bus that returns no offsets for now."""

    async def epoch(self, topic: str) -> str:
        raise Unavailable(f"topic {topic} has no leader")


async def test_a_rewind_is_shown_also_while_the_bus_returns_no_offsets() -> None:
    bus = NoOffsets()
    await bus.ensure_topics(TOPICS.all())
    async with bus.appender() as appender:
        await appender.append(TOPICS.pipelines, [Outgoing(rewind_key("orders"), encode(rewind("earlier")))])
    found = (await overview_of(await read_controls(bus)).all(bus))["orders"]
    assert (found["rewind"]["id"], found["rewind"]["state"], found["lag"]) == ("r", "pending", None)
    assert found["unknown"] == {"lag": "topic trelay.ingest has no leader"}


async def test_a_rewind_of_an_earlier_topic_is_not_shown() -> None:
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    async with bus.appender() as appender:
        await appender.append(TOPICS.pipelines, [Outgoing(rewind_key("orders"), encode(rewind("earlier")))])
    found = (await overview_of(await read_controls(bus)).all(bus))["orders"]
    assert (found["rewind"], found["unknown"]) == (None, {})
