"""Offsets that are noted for people: what is logged when that fails."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from services.system_api.sources.queue.kafka.lag import LagReport
from services.system_api.sources.queue.message import Message
from shared.bus.kafka.client.errors import Retriable
from shared.runtime.clock import SystemClock

NOT_COORDINATOR = 16
MESSAGE = Message("t/0/4", b"1", position=4, partition="t/0")


class Clock(SystemClock):
    """Time passes only in the test."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


class Cluster:
    """Answers each request by what the test has set."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.error: Exception | None = None
        self.code = 0

    async def coordinator(self, _kind: str, _key: str) -> None:
        if self.error is not None and not isinstance(self.error, KafkaConnectionError):
            raise self.error

    async def send(self, _broker: object, _request: object) -> Any:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(topics=[("t", [(0, self.code)])])


@pytest.fixture
def cluster() -> Any:
    return Cluster()


async def logged(cluster: Any, caplog: pytest.LogCaptureFixture, until: float) -> list[float]:
    """Return when something was logged, while offsets are noted every second until a time."""
    report, found = LagReport("s", cluster, "g"), []
    with caplog.at_level(logging.WARNING):
        while cluster.clock.at < until:
            report.note([MESSAGE])
            await report.report()
            if caplog.records:
                found.append(cluster.clock.at)
                caplog.clear()
            cluster.clock.at += 1.0
    return found


async def test_a_coordinator_that_is_not_there_yet_is_logged_after_some_seconds(
    cluster: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A new cluster creates the topic of its groups when the first one is asked for."""
    cluster.error = Retriable("the coordinator of group g: not available")
    assert await logged(cluster, caplog, 8.0) == []
    cluster.error, cluster.code = None, NOT_COORDINATOR
    assert await logged(cluster, caplog, 16.0) == []
    cluster.code = 0
    assert await logged(cluster, caplog, 20.0) == []
    cluster.code = NOT_COORDINATOR
    assert await logged(cluster, caplog, 60.0) == [30.0], "once"


async def test_a_failure_that_does_not_pass_is_logged_at_once(cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster.error = KafkaConnectionError("gone")
    assert await logged(cluster, caplog, 20.0) == [0.0]
