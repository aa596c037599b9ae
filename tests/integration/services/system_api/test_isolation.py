"""Sources that hang, each in another way, delay no event of the sources beside them.

The healthy source gets one line at a time, and the next one only when the last is published: if it ever waited for a
source that hangs, the test would not end. No time is asserted.
"""

import asyncio
import contextlib
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.system_api import app, inquiries
from services.system_api.settings import SystemSettings
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.registry import AnySource, build_source
from services.system_api.sources.source import Batch, Checkpoint, Source, SourceOpener
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import Clock

STEPS = 100
COPIES = 8
"""Sources that hang in each way."""


class HangingSource:
    """A source whose poll does not end."""

    def __init__(self, hang: Callable[[], Awaitable[object]], hanging: set[str], name: str) -> None:
        self._hang = hang
        self._hanging = hanging
        self._name = name

    async def poll(self, _limit: int) -> Batch:
        self._hanging.add(self._name)
        await self._hang()
        self._hanging.discard(self._name)
        return Batch()

    async def wait_for_change(self) -> None:
        await asyncio.Event().wait()


class Upstreams:
    """What hangs, and which sources hang in it now."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.hanging: set[str] = set()
        self.ways: dict[str, Callable[[str], SourceOpener]] = {
            "io-thread": self._blocks_its_thread,
            "loop": self._sleeps_on_the_loop,
            "silent": self._waits_for_a_silent_server,
        }
        self.address: tuple[str, int] = ("", 0)

    def build(self, name: str, options: AnySource, clock: Clock, rng: random.Random) -> SourceOpener:
        way = name.partition(".")[0]
        return self.ways[way](name) if way in self.ways else build_source(name, options, clock, rng)

    def _blocks_its_thread(self, name: str) -> SourceOpener:
        @contextlib.asynccontextmanager
        async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
            async with IoThread.opened(name) as thread:
                yield HangingSource(lambda: thread.run(self.release.wait), self.hanging, name)

        return open_source

    def _sleeps_on_the_loop(self, name: str) -> SourceOpener:
        async def forever() -> None:
            while True:
                await asyncio.sleep(0)

        return self._opener(name, forever)

    def _waits_for_a_silent_server(self, name: str) -> SourceOpener:
        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection(*self.address)
            try:
                return await reader.read(1)
            finally:
                writer.transport.abort()

        return self._opener(name, ask)

    def _opener(self, name: str, hang: Callable[[], Awaitable[object]]) -> SourceOpener:
        @contextlib.asynccontextmanager
        async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
            yield HangingSource(hang, self.hanging, name)

        return open_source


@pytest.fixture
def upstreams(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstreams]:
    found = Upstreams()
    monkeypatch.setattr(inquiries, "build_source", found.build)
    yield found
    found.release.set()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a connection and never answer."""
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.transport.abort()


def settings(path: Path, upstreams: Upstreams) -> SystemSettings:
    source: dict[str, Any] = {"kind": "file", "path": str(path), "type": "t", "subject": "id", "channel": "c"}
    source["interval"] = 0.01
    names = [f"{way}.{number}" for way in upstreams.ways for number in range(COPIES)]
    sources = dict.fromkeys([*names, "healthy"], source)
    return SystemSettings.model_validate({"system": {"node": "n", "listen": {"port": 0}, "sources": sources}})


def published(bus: MemoryBus) -> int:
    return sum(len(bus.records("trelay.publish", number)) for number in range(4))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_sources_that_hang_delay_no_other(tmp_path: Path, upstreams: Upstreams) -> None:
    bus, path = MemoryBus(), tmp_path / "a.ndjson"
    path.touch()
    given = settings(path, upstreams)
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    upstreams.address = server.sockets[0].getsockname()[:2]
    outside: dict[str, Any] = {"leases": MemoryLeaseStore(), "alerts": RecordingAlerts()}
    async with server, app.build_system_api(given, bus=bus, **outside) as service:
        await until(lambda: len(upstreams.hanging) == len(upstreams.ways) * COPIES)
        for step in range(STEPS):
            with path.open("a") as file:
                file.write(f'{{"id":"{step}"}}\n')
            await until(lambda count=step + 1: published(bus) == count)  # type: ignore[misc]
        assert len(upstreams.hanging) == len(upstreams.ways) * COPIES, "they all still hang"
        async with aiohttp.ClientSession() as session, session.get(f"{service.listening.url}/metrics") as answer:
            assert 'trelay_system_events_published_total{source="healthy"} 100.0' in await answer.text()
        upstreams.release.set()
