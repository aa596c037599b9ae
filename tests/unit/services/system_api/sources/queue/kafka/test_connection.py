"""The bound in bytes of several topics."""

from typing import Any

import pytest

from services.system_api.sources.queue.kafka import connection
from services.system_api.sources.queue.kafka.connection import KafkaConnection
from services.system_api.sources.queue.kafka.options import KafkaSourceOptions
from services.system_api.sources.queue.positions import Positions
from shared.runtime.clock import SYSTEM_CLOCK


class Cluster:
    """A cluster that has a clock only."""

    clock = SYSTEM_CLOCK


class Topic:
    """Takes the place of a reader, and says once that it has to be opened again."""

    opened: list[tuple[str, int]]

    def __init__(self, _cluster: Any, name: str, _positions: Any, max_bytes: int) -> None:
        self.name = name
        self._max_bytes = max_bytes

    async def open(self, *, latest: bool) -> None:
        assert not latest
        self.opened.append((self.name, self._max_bytes))

    async def stale(self) -> bool:
        return self.opened.count((self.name, self._max_bytes)) == 1

    async def close(self) -> None:
        return


async def test_topics_that_are_opened_again_keep_the_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic is opened again where it has got more partitions, or is another one."""
    Topic.opened = []
    monkeypatch.setattr(connection, "TopicReader", Topic)
    given = {"kind": "kafka", "servers": "b:9092", "topics": ["a", "b", "c", "d"], "type": "t", "start": "earliest"}
    options = KafkaSourceOptions.model_validate(given)
    cluster: Any = Cluster()
    lag: Any = None
    opened = KafkaConnection("s", cluster, options, Positions("topics", int, {}), lag)
    await opened.open()
    await opened._discover()
    assert [name for name, _ in Topic.opened] == ["a", "b", "c", "d"] * 2
    assert {size for _, size in Topic.opened} == {options.prefetch_bytes // 4}
