"""Retries, metadata that only moves forward, and brokers that leave."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.client.cluster import Cluster, TopicMetadata
from shared.bus.kafka.client.connections import Broker, BrokerConnections
from shared.bus.kafka.client.errors import Retriable
from shared.bus.kafka.options import KafkaOptions
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SystemClock


class VirtualClock(SystemClock):
    """Time passes only in sleeps."""

    def __init__(self) -> None:
        self.at = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.pauses.append(seconds)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def cluster(clock: VirtualClock) -> Cluster:
    return Cluster(KafkaOptions(delivery_timeout=2.0), None, clock)


async def test_retriable_errors_are_retried_soon_and_then_at_longer_intervals(
    cluster: Cluster, clock: VirtualClock
) -> None:
    outcomes: Iterator[Exception | None] = iter([Retriable("a"), KafkaConnectionError("b"), TimeoutError()] * 4)

    async def attempt() -> str:
        outcome = next(outcomes, None)
        if outcome is not None:
            raise outcome
        return "done"

    assert await cluster.retry("doing", attempt) == "done"
    assert clock.pauses == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.1, 0.1, 0.1, 0.1, 0.1]


async def test_retries_end_after_the_delivery_timeout(cluster: Cluster, clock: VirtualClock) -> None:
    async def attempt() -> None:
        raise KafkaConnectionError("gone")

    with pytest.raises(Unavailable, match=r"doing: .*gone"):
        await cluster.retry("doing", attempt)
    assert 1.8 < clock.at <= 2.0


async def test_retries_end_at_the_deadline(cluster: Cluster, clock: VirtualClock) -> None:
    async def attempt() -> None:
        raise Retriable("wait a moment")

    with pytest.raises(Retriable, match="wait a moment"):
        await cluster.retry("doing", attempt, deadline=0.5)
    assert clock.at <= 0.5


@pytest.mark.parametrize("error", [Fenced("a newer one"), Unavailable("no such topic"), ValueError("a bug")])
async def test_other_errors_are_raised_at_once(cluster: Cluster, clock: VirtualClock, error: Exception) -> None:
    async def attempt() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await cluster.retry("doing", attempt)
    assert raised.value is error
    assert clock.pauses == []


async def test_an_unreachable_cluster_is_named_by_its_address() -> None:
    cluster = Cluster(KafkaOptions(servers="127.0.0.1:1"), None, SystemClock())
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await cluster.refresh()
    await cluster.close()


class ScriptedCluster(Cluster):
    """A cluster whose brokers return the metadata that the test sets."""

    def __init__(self) -> None:
        super().__init__(KafkaOptions(), None, SystemClock())
        self.brokers = {1: Broker("a", 1), 2: Broker("b", 2)}
        self.leader, self.epoch, self.topic_id = 1, 5, bytes(16)

    async def send_to_any(self, request: Any) -> Any:
        partitions: list[tuple[Any, ...]] = [(0, 0, self.leader, self.epoch, [], [], [], {})]
        return SimpleNamespace(
            brokers=[(node, *broker, None, {}) for node, broker in self.brokers.items()],
            controller_id=1,
            topics=[(0, "t", self.topic_id, False, partitions, 0, {})],
        )

    async def leader_of_the_topic(self) -> tuple[Broker | None, int]:
        topic = (await self.refresh(["t"]))["t"]
        return topic.leaders[0], topic.leader_epochs[0]


async def test_metadata_with_an_older_leader_epoch_is_ignored() -> None:
    cluster = ScriptedCluster()
    assert await cluster.leader_of_the_topic() == (Broker("a", 1), 5)
    cluster.leader, cluster.epoch = 2, 6
    assert await cluster.leader_of_the_topic() == (Broker("b", 2), 6)
    cluster.leader, cluster.epoch = 1, 5  # by a broker that was paused meanwhile
    assert await cluster.leader_of_the_topic() == (Broker("b", 2), 6)
    cluster.invalidate(["t"])
    assert await cluster.leader_of_the_topic() == (Broker("b", 2), 6)
    cluster.topic_id = bytes(15) + b"1"  # another topic of the same name
    assert await cluster.leader_of_the_topic() == (Broker("a", 1), 5)


async def test_watchers_of_a_topic_wake_when_a_leader_changes() -> None:
    cluster, changed = ScriptedCluster(), asyncio.Event()
    with cluster.watch_leaders("t", changed):
        await cluster.leader_of_the_topic()
        changed.clear()
        await cluster.leader_of_the_topic()
        assert not changed.is_set()
        cluster.leader, cluster.epoch = 2, 6
        await cluster.leader_of_the_topic()
        assert changed.is_set()
    changed.clear()
    cluster.leader, cluster.epoch = 1, 7
    await cluster.leader_of_the_topic()
    assert not changed.is_set()


async def test_requests_to_a_broker_that_has_left_the_cluster_end(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[Broker] = []
    monkeypatch.setattr(BrokerConnections, "drop", lambda _, broker: dropped.append(broker))
    cluster = ScriptedCluster()
    others = cluster.connections()
    await cluster.leader_of_the_topic()
    assert dropped == []
    del cluster.brokers[2]
    await cluster.leader_of_the_topic()
    assert dropped == [Broker("b", 2)] * 2  # of the cluster's own connections, and of the others
    assert others is not None


async def test_a_broker_that_does_not_answer_costs_a_short_delay_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.kafka.client.cluster._HEDGE_DELAY", 0.001)
    asked: list[int] = []

    async def send(_: BrokerConnections, broker: Broker, _request: Any) -> int:
        asked.append(broker.port)
        if broker.port == 1:
            await asyncio.Event().wait()
        return broker.port

    monkeypatch.setattr(BrokerConnections, "send", send)
    cluster = Cluster(KafkaOptions(servers="127.0.0.1:1,127.0.0.1:2"), None, SystemClock())
    async with asyncio.timeout(60):
        assert await cluster.send_to_any(None) == 2
        assert await cluster.send_to_any(None) == 2
    assert asked == [1, 2, 2]  # the one that answered is asked first from then on


def test_a_partition_without_a_leader_is_retriable() -> None:
    topic = TopicMetadata("t", "e", {0: Broker("a", 1), 1: None})
    assert topic.leader(0) == Broker("a", 1)
    for partition in (1, 2):
        with pytest.raises(Retriable, match=f"t/{partition}: no leader"):
            topic.leader(partition)


def test_names_have_the_prefix() -> None:
    options = KafkaOptions.model_validate({"topics": {"prefix": "staging"}})
    assert Cluster(options, None, SystemClock()).prefixed("orders") == "staging.orders"
