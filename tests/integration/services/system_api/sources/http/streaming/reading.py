"""Stands in for the supervisor in tests of streams: polls, and keeps what was committed."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from services.system_api.sources.http.streaming.opening import SseSourceKind, WebSocketSourceKind
from services.system_api.sources.source import Source
from shared.runtime.clock import SYSTEM_CLOCK, Clock

LOOPBACK = {"allow": ["127.0.0.1"]}


class StreamReading:
    """Opens a stream, and keeps what was committed."""

    def __init__(self, kind: str, url: str, clock: Clock = SYSTEM_CLOCK, /, **options: Any) -> None:
        given = {"kind": kind, "url": url, "type": "t", "network": LOOPBACK, "timeout": 5} | options
        self.options: SseSourceKind | WebSocketSourceKind = (
            SseSourceKind.model_validate(given) if kind == "sse" else WebSocketSourceKind.model_validate(given)
        )
        self.opener = self.options.opener("s", clock, random.Random(1))
        self.checkpoint: dict[str, bytes] = {}
        self.events: list[dict[str, Any]] = []
        self.rejects: list[str] = []
        self.losses: list[str] = []
        self.waiting: tuple[str, ...] = ()
        """Of the last batch."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Source]:
        async with self.opener(dict(self.checkpoint)) as source:
            yield source

    async def poll(self, source: Source) -> None:
        """Poll once, and commit."""
        batch = await source.poll(100)
        self.events += [json.loads(record.value or b"") for record in batch.records]
        self.rejects += [reject.error for reject in batch.rejects]
        self.losses += [loss.text for loss in batch.losses]
        self.waiting = batch.waiting
        self.checkpoint |= {part: value for part, value in batch.checkpoint.items() if value is not None}
        assert batch.rows == len(batch.records) + len(batch.rejects) + batch.skipped

    async def until(self, source: Source, count: int) -> list[Any]:
        """Poll until so many events are there; return their data."""
        await self.settled(source, lambda: len(self.events) + len(self.rejects) >= count)
        return [event["data"] for event in self.events]

    async def settled(self, source: Source, condition: Callable[[], bool]) -> None:
        """Poll until a condition holds."""
        async with asyncio.timeout(60):
            while not condition():
                await source.wait_for_change()
                await self.poll(source)
