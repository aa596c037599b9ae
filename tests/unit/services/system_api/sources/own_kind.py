"""Kinds of sources of another distribution: the one that docs/sources/your-own.md shows, and a second one."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from services.system_api.sources.source import Batch, Checkpoint, EventBuilder, Source, SourceOpener, SourceOptions
from shared.runtime.clock import Clock


class TickSourceKind(SourceOptions):
    """Counts from 1."""

    kind: Literal["tick"]
    last: int = 3

    def opener(self, name: str, clock: Clock, rng: random.Random) -> SourceOpener:
        @asynccontextmanager
        async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
            builder = EventBuilder(name, self.type, self.channel, clock, rng)
            yield Ticks(self.last, builder, int(checkpoint.get("", b"0")))

        return open_source


class Ticks:
    def __init__(self, last: int, builder: EventBuilder, position: int) -> None:
        self._last = last
        self._builder = builder
        self._position = position

    async def poll(self, limit: int) -> Batch:
        batch = Batch()
        self._builder.begin_batch()
        while self._position < self._last and len(batch.records) < limit:
            self._position += 1
            batch.records.append(self._builder.event(str(self._position), "tick", b"%d" % self._position))
        if batch.records:
            batch.checkpoint[""] = b"%d" % self._position
        batch.more = self._position < self._last
        return batch

    async def wait_for_change(self) -> None:
        await asyncio.Event().wait()


class ZickSourceKind(TickSourceKind):
    """Counts as well."""

    kind: Literal["zick"]  # type: ignore[assignment] # another kind
