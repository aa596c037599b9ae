"""One run of a source: how it ends."""

import random

import pytest
from prometheus_client import CollectorRegistry

from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.oversize import OversizeFilter
from services.system_api.supervisor.publisher import BusUnavailable
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext, SourceRun
from services.system_api.supervisor.watchdog import Activity, Watchdog
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.harness import OPTIONS, TOPICS, Harness


def source_run(bus: MemoryBus, harness: Harness, watchdog: Watchdog) -> SourceRun:
    reporter = Reporter("numbers", RecordingAlerts(), SystemMetrics(CollectorRegistry(), ["numbers"]), SYSTEM_CLOCK)
    context = SourceContext(bus, TOPICS, SYSTEM_CLOCK, random.Random(1))
    return SourceRun(OPTIONS, harness.open, context, reporter, watchdog, OversizeFilter())


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
