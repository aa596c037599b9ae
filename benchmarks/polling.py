"""Runs a source by the whole system layer until it has caught up, and measures that."""

import asyncio
import random
import uuid
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry

from benchmarks.measuring import Cost, measured
from services.system_api.operations.controls import SourceControl
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.requests import Control
from services.system_api.replicas.membership import Turn
from services.system_api.sources.source import SourceOpener, SourceOptions
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext
from shared.alerts import RecordingAlerts
from shared.bus.connect import BusOptions, connect
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.lease import Leases, MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

SOURCE = "orders"


Settings = TypeVar("Settings", bound=SourceOptions)


async def polled(
    source: Callable[[str, Settings, Clock, random.Random], SourceOpener],
    options: Settings,
    events: int,
    bus_options: BusOptions,
    database: DatabaseOptions,
) -> Cost:
    """Measure how a source named `SOURCE` publishes `events` events to topics of its own."""
    topics = TopicsOptions(prefix=f"bench-{uuid.uuid4().hex[:8]}", partitions=1)
    rng = random.Random(1)
    registry = CollectorRegistry()
    reporter = Reporter(SOURCE, RecordingAlerts(), SystemMetrics(registry, [SOURCE]), SYSTEM_CLOCK)

    def published() -> float:
        return registry.get_sample_value("trelay_system_events_published_total", {"source": SOURCE}) or 0

    async with connect(bus_options, database) as bus:
        await bus.ensure_topics(topics.all())
        context = SourceContext(bus, topics, SYSTEM_CLOCK, rng)
        control = SourceControl(SOURCE, MemorySourceStore())
        control.update(Control())
        opener, leases = source(SOURCE, options, SYSTEM_CLOCK, rng), Leases(MemoryLeaseStore(), "bench")
        poller = Poller(options, opener, leases, context, reporter, control, Turn(granted=True))
        async with Tasks() as tasks:

            async def work() -> None:
                tasks.keep("poller", poller.run())
                # The metric costs more to read than the condition, and "caught up" may be said too early.
                while poller.status.caught_up_at is None or published() < events:  # noqa: ASYNC110 -- there is no event for it
                    await asyncio.sleep(0.01)

            cost = await measured(work(), events)
    assert published() == events, f"{published()} of {events}"
    return cost
