"""Stands in for the poller in tests of queues: opens a source, polls, saves and settles."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.system_api.sources.queue.source import QueueSource
from services.system_api.sources.source import Batch, Loss
from shared.errors import Unavailable
from shared.events import strict_json
from shared.events.dead_letter import Reject
from shared.runtime.clock import SYSTEM_CLOCK


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> list[str]:
    """Let the next call of an asynchronous method fail after its work is done; return what notes that call."""
    works = getattr(owner, method)
    failed: list[str] = []

    async def fails(*given: Any, **named: Any) -> Any:
        found = await works(*given, **named)
        if not failed:
            failed.append(method)
            raise Unavailable("the connection was lost")
        return found

    monkeypatch.setattr(owner, method, fails)
    return failed


class Killed(BaseException):
    """Stands for SIGKILL."""


class Reading:
    """A source named `s`, with what it has saved and published so far."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.saved: dict[str, bytes] = {}
        self.events: list[dict[str, Any]] = []
        self.rejects: list[Reject] = []
        self.losses: list[Loss] = []
        self.redelivered = self.parked = 0
        self._opener = options.opener("s", SYSTEM_CLOCK, random.Random(1))

    @property
    def numbers(self) -> list[Any]:
        """The data of the published events."""
        return [event["data"] for event in self.events]

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.events]

    def restarted(self) -> "Reading":
        """Forget what the process knows of earlier runs."""
        self._opener = self.options.opener("s", SYSTEM_CLOCK, random.Random(1))
        return self

    def resumed(self, other: "Reading") -> "Reading":
        """Continue at the checkpoint of another one."""
        self.saved = dict(other.saved)
        return self

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[QueueSource]:
        async with self._opener(dict(self.saved)) as source:
            yield source

    async def once(self) -> list[Any]:
        """Open the source, read what waits, and close it; return the data of the new events."""
        before = len(self.events)
        async with self.opened() as source:
            while await self.step(source):
                pass
        return self.numbers[before:]

    async def until(self, count: int) -> None:
        """Open the source, and read until so many events are published."""
        async with self.opened() as source:
            async with asyncio.timeout(60):
                while len(self.events) < count:
                    if not await self.step(source):
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(source.wait_for_change(), 0.2)

    async def through(self, source: QueueSource, count: int) -> None:
        """Read until so many events are published, through failures of the connection."""
        async with asyncio.timeout(60):
            while len(self.events) < count:
                with contextlib.suppress(Unavailable):
                    await self.step(source)
                await asyncio.sleep(0.02)

    async def until_parked(self, poison: bytes, published: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Read in one process after another, each killed by one message, until that is parked and all others are read.

        Checks that it alone is parked, after as many deliveries as processes were killed.
        """

        def check(body: bytes) -> None:
            if body == poison:
                raise Killed

        monkeypatch.setattr(strict_json, "check", check)
        deaths = 0
        while len(self.events) < published or not self.rejects:
            try:
                # Another process has its own memory of what it has processed.
                await self.restarted().once()
            except Killed:
                deaths += 1
                assert deaths < 10
        (reject,) = self.rejects
        assert self.parked == 1
        assert (reject.value, reject.attempts) == (poison, deaths + 1)
        assert f"delivered {deaths + 1} times and never processed to the end" in reject.error
        most = self.options.max_deliveries
        assert deaths in {most, most + 1}, "one run more if the first one has published something"

    async def step(self, source: QueueSource) -> bool:
        """Poll, save and settle; return whether there was anything."""
        batch = await source.poll(100)
        await self.commit(source, batch)
        await asyncio.sleep(0.002)  # the client library reads meanwhile
        return bool(batch or batch.skipped or batch.more)

    async def commit(self, source: QueueSource, batch: Batch) -> None:
        self.losses += batch.losses
        for part, value in batch.checkpoint.items():
            if value is None:
                self.saved.pop(part, None)
            else:
                self.saved[part] = value
        self.events += [json.loads(record.value or b"") for record in batch.records]
        self.rejects += batch.rejects
        self.redelivered += batch.redelivered
        self.parked += batch.parked
        if batch:
            await source.settle(batch)
