"""Trying on, for as long as it makes sense."""

from collections.abc import Iterator

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.client.cluster import Cluster, TopicView
from shared.bus.kafka.client.connections import Broker
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


def test_a_partition_without_a_leader_is_a_passing_thing() -> None:
    view = TopicView("t", "e", {0: Broker("a", 1), 1: None})
    assert view.leader(0) == Broker("a", 1)
    for partition in (1, 2):
        with pytest.raises(Passing, match=f"t/{partition}: no leader"):
            view.leader(partition)


def test_names_carry_the_prefix() -> None:
    options = KafkaOptions.model_validate({"topics": {"prefix": "staging"}})
    assert Cluster(options, None, SystemClock()).identity("orders") == "staging.orders"
