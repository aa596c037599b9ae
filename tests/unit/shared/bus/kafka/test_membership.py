"""When it is a problem that a member is not in its group."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.membership import Membership
from shared.bus.kafka.options import KafkaOptions
from shared.runtime.clock import SystemClock

LOADING, NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16


class Ended(Exception):
    """The script is over."""


class Coordinator(Cluster):
    """A cluster whose coordinator answers by a script, and what was a problem at each time."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__(KafkaOptions(), None, self.Ticks(self))
        self.at = 0.0
        self.seen: dict[float, str | None] = {}
        self._answers: Iterator[Any] = iter(answers)

    class Ticks(SystemClock):
        """Time passes only in sleeps."""

        def __init__(self, cluster: "Coordinator") -> None:
            self._cluster = cluster

        def monotonic(self) -> float:
            return self._cluster.at

        async def sleep(self, seconds: float) -> None:
            cluster = self._cluster
            cluster.seen[cluster.at] = next(iter(cluster.problems.values()), None)
            cluster.at = round(cluster.at + seconds, 6)
            await asyncio.sleep(0)

    async def coordinator(self, kind: str, key: str) -> Broker:
        return Broker("coordinator", 1)

    def connections(self, timeout: float | None = None) -> Any:
        return self

    async def send(self, broker: Broker, request: Any) -> Any:
        answer = next(self._answers, Ended())
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(error_code=answer)


async def seen(*answers: Any) -> dict[float, str | None]:
    cluster = Coordinator(list(answers))
    workers: Any = SimpleNamespace(partitions=set())
    workers.stop = lambda _: asyncio.sleep(0)
    member = Membership(cluster, "ingest", "readers", "a", workers)
    with suppress(Ended):
        await member.run()
    return cluster.seen


@pytest.mark.parametrize("code", [LOADING, NOT_AVAILABLE, NOT_COORDINATOR])
async def test_a_coordinator_that_is_not_there_yet_is_a_problem_after_some_seconds(code: int) -> None:
    found = await seen(*[code] * 60)
    assert {at for at, problem in found.items() if problem is None} == {at for at in found if at < 10.0}
    assert len({problem for problem in found.values() if problem}) == 1


async def test_a_coordinator_that_does_not_answer_is_a_problem_at_once() -> None:
    found = await seen(NOT_COORDINATOR, KafkaConnectionError("gone"), *[NOT_COORDINATOR] * 60)
    assert found[0.0] is None
    assert "gone" in (found[0.2] or "")
    assert "gone" in (found[10.0] or ""), "until it answers, or does not for too long"
    assert "NotCoordinator" in (found[10.4] or "")
