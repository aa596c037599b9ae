import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from services.experience_api.auth.tokens import KeyOptions, TokenOptions
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.sessions.dependencies import Stream, StreamParts, deliver, load_tokens
from services.experience_api.sessions.inbound import Inbound
from services.experience_api.sessions.late_bound import Awaited
from services.experience_api.stream.delivery import DeliveryOptions
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Appender, Bus, TopicOptions
from shared.bus.topics import TopicsOptions
from shared.composition.bus import BusConnection
from shared.errors import SettingsError, Unavailable
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock
from shared.runtime.tasks import Tasks

PATIENCE = 10.0


class Hurried(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class Reports:
    def __init__(self) -> None:
        self.problems: list[str | None] = []

    def __call__(self, problem: str | None) -> None:
        self.problems.append(problem)


class Flaky:
    """Fails so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def __call__(self) -> None:
        if self.left:
            self.left -= 1
            raise Unavailable(f"{self.left} to go")


async def test_tokens_come_once_the_database_is_ready_and_replicas_share_their_key() -> None:
    registry, reports = MemoryRegistry(MemoryLeaseStore()), Reports()
    one = await load_tokens(TokenOptions(), registry, Flaky(2), reports, Hurried())
    other = await load_tokens(TokenOptions(), registry, Flaky(0), reports, Hurried())
    assert reports.problems == ["1 to go", "0 to go", None, None]
    issued = one.issue("demo", 0)
    assert other.read(issued.token) == issued.claims


async def test_keys_of_the_settings_are_used_and_none_is_made() -> None:
    registry = MemoryRegistry(MemoryLeaseStore())
    options = TokenOptions(keys=(KeyOptions.model_validate({"id": "2026", "secret": "k" * 32}),))
    tokens = await load_tokens(options, registry, Flaky(0), Reports(), SYSTEM_CLOCK)
    assert registry._signing_key is None
    again = await load_tokens(options, registry, Flaky(0), Reports(), SYSTEM_CLOCK)
    issued = tokens.issue("demo", 0)
    assert again.read(issued.token) == issued.claims


def connection(bus: Bus, failures: int = 0) -> BusConnection:
    flaky = Flaky(failures)

    @asynccontextmanager
    async def connect() -> AsyncIterator[Bus]:
        await flaky()
        yield bus

    return BusConnection(connect, TopicsOptions(), Hurried())


async def delivering(connection: BusConnection, stream: Awaited[Stream]) -> None:
    def inbound(appender: Appender) -> Inbound:
        metrics = ExperienceMetrics(CollectorRegistry())
        return Inbound(appender, "trelay.inbound", RecordingAlerts(), metrics, SYSTEM_CLOCK, lambda: "id")

    parts = StreamParts(TopicsOptions().publish, DeliveryOptions(), inbound, lambda source, seconds: None)
    await connection.keep(lambda bus: deliver(parts, bus, stream, SYSTEM_CLOCK))


async def test_the_stream_comes_once_the_bus_answers_and_goes_with_its_task() -> None:
    stream: Awaited[Stream] = Awaited("the stream")
    bus = connection(MemoryBus(), 2)
    problems: list[str | None] = []
    async with Tasks() as tasks:
        tasks.keep("stream", delivering(bus, stream))
        async with asyncio.timeout(PATIENCE):
            while stream.now is None or stream.now.delivery.problem is not None:
                await asyncio.sleep(0)
                problems += [bus.problem] if [bus.problem] != problems[-1:] else []
        assert problems == ["1 to go", "0 to go", None]
    assert stream.now is None


async def test_a_topic_of_another_form_is_an_error_that_surfaces() -> None:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name="trelay.publish", partitions=7)])
    with pytest.raises(SettingsError, match=r"trelay\.publish"):
        await delivering(connection(bus), Awaited("the stream"))
