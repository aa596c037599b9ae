import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from services.experience_api.auth.signing import Signing
from services.experience_api.auth.tokens import KeyOptions, TokenOptions
from services.experience_api.latest.copying import Copier
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.producers.once.options import OnceOptions
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Node
from services.experience_api.sessions.claiming.takeovers import Takeovers
from services.experience_api.sessions.dependencies import Stream, StreamParts, load_tokens, run_stream
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.sessions.messages.inbound import Inbound
from services.experience_api.stream.options import DeliveryOptions
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Appender, Bus, TopicOptions
from shared.bus.topics import TopicsOptions
from shared.composition.bus import BusConnection
from shared.errors import SettingsError, Unavailable
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock
from shared.runtime.tasks import Tasks

TIMEOUT = 60.0


class FastClock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Reports:
    def __init__(self) -> None:
        self.problems: list[str | None] = []

    def __call__(self, problem: str | None) -> None:
        self.problems.append(problem)


class Flaky:
    """Fails a given number of times."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise Unavailable(f"{self.left} to go")


async def test_tokens_are_loaded_once_the_database_is_ready_and_replicas_share_the_key() -> None:
    registry, reports = MemoryRegistry(MemoryLeaseStore()), Reports()
    one = await load_tokens(Signing(TokenOptions(), SYSTEM_CLOCK), registry, Flaky(2), reports, FastClock())
    other = await load_tokens(Signing(TokenOptions(), SYSTEM_CLOCK), registry, Flaky(0), reports, FastClock())
    assert reports.problems == ["1 to go", "0 to go", None, None]
    issued = one.issue("demo", 0)
    assert other.read(issued.token) == issued.claims


async def test_keys_of_the_settings_are_used_and_none_is_generated() -> None:
    registry = MemoryRegistry(MemoryLeaseStore())
    options = TokenOptions(keys=(KeyOptions.model_validate({"id": "2026", "secret": "k" * 32}),))
    tokens = await load_tokens(Signing(options, SYSTEM_CLOCK), registry, Flaky(0), Reports(), SYSTEM_CLOCK)
    assert registry._signing_key is None
    again = await load_tokens(Signing(options, SYSTEM_CLOCK), registry, Flaky(0), Reports(), SYSTEM_CLOCK)
    issued = tokens.issue("demo", 0)
    assert again.read(issued.token) == issued.claims


def connection(bus: Bus, failures: int = 0) -> BusConnection:
    flaky = Flaky(failures)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Bus]:
        await flaky()
        yield bus

    return BusConnection(connect, TopicsOptions(), FastClock())


async def delivering(connection: BusConnection, stream: LateBound[Stream], copier: Copier | None = None) -> None:
    def inbound(appender: Appender, once: OnceAppender) -> Inbound:
        metrics = ExperienceMetrics(CollectorRegistry())
        return Inbound(appender, once, "trelay.inbound", RecordingAlerts(), metrics, SYSTEM_CLOCK, lambda: "id")

    def takeovers(bus: Bus, appender: Appender) -> Takeovers:
        return Takeovers(bus, appender, TopicsOptions().takeovers, lambda _: None, SYSTEM_CLOCK)

    def once(bus: Bus) -> AbstractAsyncContextManager[OnceAppender]:
        store = MemoryKeyStore(bool)
        return OnceAppender.opened(bus, TopicsOptions().publish, store, lambda: Node("one", 1), OnceOptions(), str)

    parts = StreamParts(TopicsOptions(), DeliveryOptions(), inbound, takeovers, once, lambda source, seconds: None)
    parts = replace(parts, copier=copier)
    await connection.keep(lambda bus: run_stream(parts, bus, stream, FastClock() if copier else SYSTEM_CLOCK))


async def test_the_stream_is_set_once_the_bus_answers_and_cleared_with_its_task() -> None:
    stream: LateBound[Stream] = LateBound("stream")
    bus = connection(MemoryBus(), 2)
    problems: list[str | None] = []
    async with Tasks() as tasks:
        tasks.keep("stream", delivering(bus, stream))
        async with asyncio.timeout(TIMEOUT):
            while stream.value is None or stream.value.delivery.problem is not None:
                await asyncio.sleep(0)
                problems += [bus.problem] if [bus.problem] != problems[-1:] else []
        assert problems == ["1 to go", "0 to go", None]
    assert stream.value is None


class FailingCopier:
    """Fails at first, with an error that nobody expects."""

    def __init__(self) -> None:
        self.errors = [KeyError("x"), KeyError("y")]
        self.runs = asyncio.Event()

    async def run(self, bus: Bus) -> None:
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop()
        self.runs.set()
        await asyncio.Event().wait()


async def test_what_fails_beside_the_stream_runs_again() -> None:
    copier, stream = FailingCopier(), LateBound[Stream]("stream")
    async with Tasks() as tasks:
        tasks.keep("stream", delivering(connection(MemoryBus()), stream, cast("Copier", copier)))
        async with asyncio.timeout(TIMEOUT):
            await copier.runs.wait()
        assert stream.value is not None


async def test_a_topic_that_contradicts_the_settings_is_an_error() -> None:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name="trelay.publish", partitions=7)])
    with pytest.raises(SettingsError, match=r"trelay\.publish"):
        await delivering(connection(bus), LateBound("stream"))
