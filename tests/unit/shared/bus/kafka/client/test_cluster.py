"""Trying on, for as long as it makes sense."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.client.cluster import Cluster, TopicView
from shared.bus.kafka.client.connections import Broker, Connections
from shared.bus.kafka.client.errors import Passing
from shared.bus.kafka.options import KafkaOptions
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SystemClock


class Hurried(SystemClock):
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.at = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.pauses.append(seconds)


@pytest.fixture
def clock() -> Hurried:
    return Hurried()


@pytest.fixture
def cluster(clock: Hurried) -> Cluster:
    return Cluster(KafkaOptions(patience=2.0), None, clock)


async def test_what_passes_is_tried_again_soon_and_then_slower(cluster: Cluster, clock: Hurried) -> None:
    outcomes: Iterator[Exception | None] = iter([Passing("a"), KafkaConnectionError("b"), TimeoutError()] * 4)

    async def attempt() -> str:
        outcome = next(outcomes, None)
        if outcome is not None:
            raise outcome
        return "done"

    assert await cluster.persist("doing", attempt) == "done"
    assert clock.pauses == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.1, 0.1, 0.1, 0.1, 0.1]


async def test_patience_ends(cluster: Cluster, clock: Hurried) -> None:
    async def attempt() -> None:
        raise KafkaConnectionError("gone")

    with pytest.raises(Unavailable, match=r"doing: .*gone"):
        await cluster.persist("doing", attempt)
    assert 1.8 < clock.at <= 2.0


async def test_a_deadline_is_kept(cluster: Cluster, clock: Hurried) -> None:
    async def attempt() -> None:
        raise Passing("wait a moment")

    with pytest.raises(Passing, match="wait a moment"):
        await cluster.persist("doing", attempt, deadline=0.5)
    assert clock.at <= 0.5


@pytest.mark.parametrize("error", [Fenced("a newer one"), Unavailable("no such topic"), ValueError("a bug")])
async def test_what_does_not_pass_is_raised_at_once(cluster: Cluster, clock: Hurried, error: Exception) -> None:
    async def attempt() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await cluster.persist("doing", attempt)
    assert raised.value is error
    assert clock.pauses == []


async def test_nobody_there_is_said_with_the_address() -> None:
    cluster = Cluster(KafkaOptions(servers="127.0.0.1:1"), None, SystemClock())
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await cluster.refresh()
    await cluster.close()


class Told(Cluster):
    """A cluster whose brokers answer what the test says; notes which connections are dropped."""

    def __init__(self) -> None:
        super().__init__(KafkaOptions(), None, SystemClock())
        self.brokers = {1: Broker("a", 1), 2: Broker("b", 2)}
        self.leader, self.epoch, self.topic_id = 1, 5, bytes(16)

    async def ask_any(self, request: Any) -> Any:
        partitions: list[tuple[Any, ...]] = [(0, 0, self.leader, self.epoch, [], [], [], {})]
        return SimpleNamespace(
            brokers=[(node, *broker, None, {}) for node, broker in self.brokers.items()],
            controller_id=1,
            topics=[(0, "t", self.topic_id, False, partitions, 0, {})],
        )

    async def leads(self) -> tuple[Broker | None, int]:
        view = (await self.refresh(["t"]))["t"]
        return view.leaders[0], view.epochs[0]


async def test_an_older_leader_than_the_one_known_is_not_believed() -> None:
    cluster = Told()
    assert await cluster.leads() == (Broker("a", 1), 5)
    cluster.leader, cluster.epoch = 2, 6
    assert await cluster.leads() == (Broker("b", 2), 6)
    cluster.leader, cluster.epoch = 1, 5  # by a broker that was paused meanwhile
    assert await cluster.leads() == (Broker("b", 2), 6)
    cluster.forget(["t"])
    assert await cluster.leads() == (Broker("b", 2), 6)
    cluster.topic_id = bytes(15) + b"1"  # another topic of the name begins anew
    assert await cluster.leads() == (Broker("a", 1), 5)


async def test_who_watches_a_topic_is_woken_when_its_leaders_change() -> None:
    cluster, changed = Told(), asyncio.Event()
    with cluster.watching("t", changed):
        await cluster.leads()
        changed.clear()
        await cluster.leads()
        assert not changed.is_set()
        cluster.leader, cluster.epoch = 2, 6
        await cluster.leads()
        assert changed.is_set()
    changed.clear()
    cluster.leader, cluster.epoch = 1, 7
    await cluster.leads()
    assert not changed.is_set()


async def test_requests_to_a_broker_that_has_left_the_cluster_end(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[Broker] = []
    monkeypatch.setattr(Connections, "drop", lambda _, broker: dropped.append(broker))
    cluster = Told()
    mine = cluster.connections()
    await cluster.leads()
    assert dropped == []
    del cluster.brokers[2]
    await cluster.leads()
    assert dropped == [Broker("b", 2)] * 2  # the cluster's own connections, and mine
    assert mine is not None


async def test_a_broker_that_does_not_answer_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.kafka.client.cluster._HEDGE", 0.001)
    asked: list[int] = []

    async def send(_: Connections, broker: Broker, _request: Any) -> int:
        asked.append(broker.port)
        if broker.port == 1:
            await asyncio.Event().wait()
        return broker.port

    monkeypatch.setattr(Connections, "send", send)
    cluster = Cluster(KafkaOptions(servers="127.0.0.1:1,127.0.0.1:2"), None, SystemClock())
    async with asyncio.timeout(5):
        assert await cluster.ask_any(None) == 2
        assert await cluster.ask_any(None) == 2
    assert asked == [1, 2, 2]  # the one that answered is asked first from then on


def test_a_partition_without_a_leader_is_a_passing_thing() -> None:
    view = TopicView("t", "e", {0: Broker("a", 1), 1: None})
    assert view.leader(0) == Broker("a", 1)
    for partition in (1, 2):
        with pytest.raises(Passing, match=f"t/{partition}: no leader"):
            view.leader(partition)


def test_names_carry_the_prefix() -> None:
    options = KafkaOptions.model_validate({"topics": {"prefix": "staging"}})
    assert Cluster(options, None, SystemClock()).identity("orders") == "staging.orders"
