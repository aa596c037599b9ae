"""Stands in for the supervisor in tests of HTTP sources: polls, saves checkpoints, and opens the source again."""

import contextlib
import json
import random
from collections.abc import AsyncIterator
from typing import Any

from services.system_api.sources.http.polling.opening import http_source
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.source import Batch, Source
from shared.events.dead_letter import Reject
from shared.events.headers import PROVENANCE, unpack_provenance
from shared.runtime.clock import SystemClock

LOOPBACK = {"allow": ["127.0.0.1", "localhost"]}


class SteppedClock(SystemClock):
    """A clock that a test moves, and that sleeping moves."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at
        self.slept: list[float] = []

    def time(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


class HttpPoller:
    """Opens an HTTP source, and keeps what was committed."""

    def __init__(self, url: str, clock: SystemClock | None = None, **options: Any) -> None:
        given = {"kind": "http", "url": url, "type": "order.updated", "id": "id", "network": LOOPBACK} | options
        self.clock = clock or SteppedClock()
        self.options = HttpSourceOptions.model_validate(given)
        self.checkpoint: dict[str, bytes] = {}
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.rejects: list[Reject] = []
        self.problems: list[str] = []
        self._source: Source | None = None

    @property
    def source(self) -> Source:
        assert self._source is not None, "open it first"
        return self._source

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator["HttpPoller"]:
        async with http_source("orders", self.options, self.clock, random.Random(1))(dict(self.checkpoint)) as source:
            self._source = source
            yield self
        self._source = None

    async def poll(self, limit: int = 1000) -> Batch:
        """Poll once, and commit."""
        batch = await self.source.poll(limit)
        self.commit(batch)
        return batch

    def commit(self, batch: Batch) -> None:
        for record in batch.records:
            self.events.append(json.loads(record.value or b""))
            self.ids.append(unpack_provenance(dict(record.headers)[PROVENANCE]).id)
        self.rejects += batch.rejects
        self.problems = list(batch.problems)
        for part, value in batch.checkpoint.items():
            if value is None:
                self.checkpoint.pop(part, None)
            else:
                self.checkpoint[part] = value

    async def drain(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Poll until nothing is waiting; return the new events."""
        before = len(self.events)
        while (await self.poll(limit)).more:
            pass
        return self.events[before:]

    async def data(self, limit: int = 1000) -> list[Any]:
        """Poll until nothing is waiting; return the data of the new events."""
        return [event["data"] for event in await self.drain(limit)]


def orders(count: int, first: int = 1) -> list[dict[str, Any]]:
    return [{"id": number, "at": f"2026-01-01T00:00:{number:02d}Z"} for number in range(first, first + count)]
