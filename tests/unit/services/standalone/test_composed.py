"""The three services in one process: what the settings say of it, and what they share."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from services.experience_api.app import STREAM, build_experience_api
from services.experience_api.registry.memory import MemoryRegistry
from services.process_api.app import build_process_api
from services.standalone.composed import ComposedServices
from services.standalone.data import EXAMPLES
from services.standalone.settings import StandaloneSettings
from services.system_api.app import BUS, build_system_api
from shared.alerts import RecordingAlerts
from shared.alerts.outages import alert_on_outages
from shared.bus.memory import MemoryBus
from shared.database.options import DatabaseOptions
from shared.http.server import Health
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SystemClock
from shared.settings import load, parse

DATABASE = DatabaseOptions(url="postgresql://trelay@127.0.0.1/trelay")


def test_the_examples_are_good_settings(tmp_path: Path) -> None:
    settings = load(Path(str(EXAMPLES / "trelay.yaml")), StandaloneSettings, {"TRELAY_DATABASE_URL": DATABASE.url})
    assert set(settings.system.sources) == {"sensors", "stock", "orders"}
    assert set(settings.process.pipelines) == {"orders"}
    assert "database" not in settings.model_fields_set


def test_only_subscribers_have_an_address_that_is_chosen() -> None:
    together = ComposedServices(StandaloneSettings(), DATABASE, 8080)
    assert together._experience.experience.listen.port == 8080
    assert together._system.system.listen.port == 0
    assert together._process.process.listen.port == 0


def test_an_address_in_the_settings_is_kept() -> None:
    settings = parse("system: {listen: {port: 9001}}", StandaloneSettings, {})
    assert ComposedServices(settings, DATABASE, 8080)._system.system.listen.port == 9001


def test_a_restart_is_the_same_replica_so_that_nothing_waits_for_a_lease() -> None:
    together = ComposedServices(StandaloneSettings(), DATABASE, 8080)
    names = {
        together._experience.experience.connections.node,
        together._process.process.node,
        together._system.system.node,
    }
    assert names == {"standalone"}


class Hurried(SystemClock):
    """Time that goes by as fast as somebody waits."""

    def __init__(self) -> None:
        self.gone = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.gone

    async def sleep(self, seconds: float) -> None:
        self.gone += seconds
        await asyncio.sleep(0.001)


async def test_an_outage_is_logged_once_for_each_part_however_many_services_share_it() -> None:
    together = ComposedServices(StandaloneSettings(), DATABASE, 0)
    bus, health, alerts, clock = MemoryBus(), Health("test"), RecordingAlerts(), Hurried()
    leases = MemoryLeaseStore()
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        await stack.enter_async_context(alert_on_outages("all", health.readiness, alerts, clock))
        for service in (
            build_experience_api(
                together._experience,
                bus=bus,
                registry=MemoryRegistry(leases),
                leases=leases,
                alerts=alerts,
                health=health,
                clock=clock,
            ),
            build_process_api(together._process, bus=bus, alerts=alerts, health=health, clock=clock),
            build_system_api(together._system, bus=bus, leases=leases, alerts=alerts, health=health, clock=clock),
        ):
            await stack.enter_async_context(service)
        while not health.readiness.ready:
            await asyncio.sleep(0.01)
        alerts.calls.clear()  # on a busy machine, the start may have taken long by a clock that hurries
        bus.problem = "the broker is away"
        begun = clock.gone
        while clock.gone < begun + 120:
            await asyncio.sleep(0.01)
        missing = health.readiness.missing()
        told = [(alert.method, alert.place) for alert in alerts.calls]
    assert sorted(told) == sorted(("begin", f"all: {part}") for part in missing)
    assert missing.keys() >= {BUS, STREAM}
