"""Dead letters on the bus in memory, and what operators do with them."""

import json
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry

from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.requests import DecideRequest, ListRequest
from services.process_api.dead_letters.service import DeadLetters
from services.process_api.operations.requests import Asked
from shared.bus.memory import MemoryBus
from shared.bus.memory.log import MemoryRecord
from shared.bus.topics import TopicsOptions
from shared.events.dead_letter import Content, Reject
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from tests.unit.services.process_api.making import event

TOPICS = TopicsOptions(partitions=2)


def reject(number: int = 7, **given: Any) -> Reject:
    """An event of the source `orders` that the pipeline `orders` refused."""
    source = given.pop("source", "orders")
    identity = f"{source}:{number}"
    value = event({"n": number}, id=identity, source=f"/sources/{source}", subject=f"C-{number % 3}")
    return Reject(
        **{
            "id": identity,
            "value": value,
            "error": "steps.0.validate: found no total",
            "stage": "pipeline",
            "origin": f"trelay.ingest/0/{number}",
            "pipeline": "orders@3f2a9c01",
            "content": Content.EVENT,
            "key": f"C-{number % 3}".encode(),
            "provenance": f"{source} 1700000000000 {identity}".encode(),
            **given,
        }
    )


def bad_line(number: int = 1) -> Reject:
    """Input of which the source `files` made no event."""
    return Reject(f"files:a.csv:{number}", b"a;b;\xff", "a.csv, line 1: found 3", "source", f"files:/in/a.csv:{number}")


def letter(rejected: Reject | None = None, *, offset: int = 0, timestamp: int = 1_700_000_000_000) -> Letter:
    key, value, headers = (rejected or reject()).record()
    return Letter.of(MemoryRecord("trelay.dead-letter", 0, offset, timestamp, key, value, headers))


class Desk:
    """Dead letters of one replica. Replicas share the bus."""

    def __init__(
        self,
        bus: MemoryBus | None = None,
        clock: Clock = SYSTEM_CLOCK,
        seed: int = 1,
        asked: Callable[[], Awaitable[Asked]] | None = None,
    ) -> None:
        self.bus = bus or MemoryBus()
        self.pipelines = {"orders": ["orders"], "*": []}
        self.registry = CollectorRegistry()
        self.service = DeadLetters(TOPICS, self._takers, self.registry, clock, random.Random(seed), asked)

    def _takers(self, source: str) -> dict[str, int]:
        return dict.fromkeys(self.pipelines.get(source, self.pipelines["*"]), 2)

    async def write(self, *rejects: Reject) -> None:
        await self.bus.ensure_topics(TOPICS.all())
        async with self.bus.appender() as appender:
            await appender.append(TOPICS.dead_letter, [each.record() for each in rejects])

    async def page(self, **query: str) -> dict[str, Any]:
        return await self.service.page(self.bus, ListRequest.parse(query))

    async def counts(self, **query: str) -> dict[str, Any]:
        return await self.service.count(self.bus, ListRequest.parse(query, counts=True))

    async def ids(self, **query: str) -> list[str]:
        return [each["id"] for each in (await self.page(**query))["letters"]]

    async def replay(self, **body: Any) -> dict[str, Any]:
        return await self._decide(Status.REPLAYED, body)

    async def drop(self, **body: Any) -> dict[str, Any]:
        return await self._decide(Status.DROPPED, body)

    async def _decide(self, status: Status, body: dict[str, Any]) -> dict[str, Any]:
        request = DecideRequest.parse(status, json.dumps(body).encode())
        return (await self.service.decide(self.bus, request, "ann")).body

    def ingested(self) -> list[MemoryRecord]:
        return self.records(TOPICS.ingest, range(TOPICS.partitions))

    def published(self) -> list[MemoryRecord]:
        return self.records(TOPICS.publish, range(TOPICS.partitions))

    def records(self, topic: str, partitions: Iterable[int] = (0,)) -> list[MemoryRecord]:
        return [record for number in partitions for record in self.bus.records(topic, number)]

    def numbers(self) -> list[int]:
        """The numbers of the events that were replayed to the pipeline."""
        return sorted(json.loads(record.value or b"")["data"]["n"] for record in self.ingested())
