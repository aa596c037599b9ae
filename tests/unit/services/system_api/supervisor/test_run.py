"""One run of a source: how it ends."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from services.system_api.operations.controls import SourceControl
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.sources.source import Batch, Checkpoint, Source
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.oversize import OversizeFilter
from services.system_api.supervisor.publisher import BusUnavailable
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import Lasting, SourceContext, SourceRun
from services.system_api.supervisor.wakeup import Wakeup
from services.system_api.supervisor.watchdog import Activity, Watchdog
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.errors import SettingsError
from shared.events.watermark import read_watermark
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.harness import OPTIONS, TOPICS, Harness, Numbers, nothing


def source_run(bus: MemoryBus, harness: Harness, watchdog: Watchdog) -> SourceRun:
    reporter = Reporter("numbers", RecordingAlerts(), SystemMetrics(CollectorRegistry(), ["numbers"]), SYSTEM_CLOCK)
    context = SourceContext(bus, TOPICS, SYSTEM_CLOCK, random.Random(1))
    lasting = Lasting(SourceControl("numbers", MemorySourceStore()), OversizeFilter(), Wakeup())
    return SourceRun(OPTIONS, harness.open, context, reporter, lasting, watchdog)


async def test_missing_topics_are_reported_as_the_bus() -> None:
    watchdog = Watchdog(10)
    with pytest.raises(BusUnavailable, match="does not exist"):
        await source_run(MemoryBus(), Harness(), watchdog).run()
    assert watchdog.activity is Activity.CONNECTING


async def test_a_settings_error_surfaces() -> None:
    async def refuse(_next: int) -> None:
        raise SettingsError("the checkpoint is of another kind of source")

    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    with pytest.raises(SettingsError):
        await source_run(bus, Harness(before=refuse), Watchdog(10)).run()


class WaitingNumbers(Numbers):
    """Numbers of which something waits, until `last` is 0."""

    async def poll(self, limit: int) -> Batch:
        batch = await super().poll(limit)
        batch.waiting = ("row 26: its end is missing",) if self.last else ()
        return batch


async def test_a_source_is_not_caught_up_while_something_waits() -> None:
    harness = Harness()
    sources = []

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        assert not checkpoint
        sources.append(WaitingNumbers(1, 25, nothing))
        yield sources[0]

    async with harness.running(harness.poller(open_source=open_source)) as poller:
        await harness.until(lambda: bool(poller.status.waiting))
        await harness.until(lambda: len(harness.published()) == 25)
        assert poller.status.caught_up_at is None
        sources[0].last = 0
        await harness.until(lambda: poller.status.caught_up_at is not None)
        assert not poller.status.waiting


class WholeNumbers(Numbers):
    """Numbers that are all there is at each poll."""

    async def poll(self, limit: int) -> Batch:
        batch = await super().poll(limit)
        batch.whole = True
        return batch


async def test_a_watermark_follows_what_was_read_and_is_not_repeated_within_its_interval() -> None:
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())

    @contextlib.asynccontextmanager
    async def open_whole(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        assert not checkpoint
        yield WholeNumbers(1, 25, nothing)

    reporter = Reporter("numbers", RecordingAlerts(), SystemMetrics(CollectorRegistry(), ["numbers"]), SYSTEM_CLOCK)
    context = SourceContext(bus, TOPICS, SYSTEM_CLOCK, random.Random(1), watermark_interval=60.0)
    lasting = Lasting(SourceControl("numbers", MemorySourceStore()), OversizeFilter(), Wakeup())
    run = asyncio.create_task(SourceRun(OPTIONS, open_whole, context, reporter, lasting, Watchdog(10)).run())
    async with asyncio.timeout(60):
        while not bus.records(TOPICS.watermarks, 0):
            await asyncio.sleep(0.002)
    seen = reporter.status.polled_at
    async with asyncio.timeout(60):
        while reporter.status.polled_at == seen:
            await asyncio.sleep(0.002)
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    [record] = bus.records(TOPICS.watermarks, 0)
    mark = read_watermark(record.value)
    assert (mark.source, mark.topic, mark.ends, mark.channels) == ("numbers", TOPICS.publish, [25], ["numbers"])
