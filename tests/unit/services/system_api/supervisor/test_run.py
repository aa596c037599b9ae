"""One life of a source: what its end is called."""

import random

import pytest
from prometheus_client import CollectorRegistry

from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.oversize import Oversize
from services.system_api.supervisor.publisher import BusAway
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import Life, Surroundings
from services.system_api.supervisor.watchdog import Activity, Watch
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.system_api.surroundings import OPTIONS, TOPICS, Setting


def life(bus: MemoryBus, setting: Setting, watch: Watch) -> Life:
    reporter = Reporter("numbers", RecordingAlerts(), SystemMetrics(CollectorRegistry(), ["numbers"]), SYSTEM_CLOCK)
    around = Surroundings(bus, TOPICS, SYSTEM_CLOCK, random.Random(1))
    return Life(OPTIONS, setting.open, around, reporter, watch, Oversize())


async def test_topics_that_are_missing_are_the_bus_and_not_the_source() -> None:
    watch = Watch(10)
    with pytest.raises(BusAway, match="does not exist"):
        await life(MemoryBus(), Setting(), watch).run()
    assert watch.activity is Activity.CONNECTING


async def test_settings_that_cannot_work_surface() -> None:
    async def refuse(_next: int) -> None:
        raise SettingsError("the checkpoint is of another kind of source")

    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    with pytest.raises(SettingsError):
        await life(bus, Setting(before=refuse), Watch(10)).run()
