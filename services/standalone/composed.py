"""The three services in one process and one event loop, with one bus, database, alerts and health."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from services.experience_api.app import build_experience_api
from services.experience_api.settings import ExperienceSettings
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessOptions, ProcessSettings
from services.standalone.settings import StandaloneSettings
from services.system_api.app import build_system_api
from services.system_api.operations.postgres import PostgresSourceStore
from services.system_api.settings import SystemOptions, SystemSettings
from shared.alerts import alerting
from shared.alerts.outages import alert_on_outages
from shared.bus.connect import connect
from shared.composition.parts import Given, traced
from shared.composition.settings_metrics import show_settings_file
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.http.server import Health, ListenOptions
from shared.lease import PostgresLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.identity import Identity
from shared.runtime.reloading import Section, SettingsFile
from shared.runtime.run import Failing, Running
from shared.runtime.tasks import Tasks

_DRAIN = 1.0
"""Seconds for requests in progress at the stop: there is no other replica to send subscribers to."""
STANDALONE = "standalone"
"""The name of the one process: its service in logs and metrics, and its replica."""
_CHECK_INTERVAL = 0.02

RunSubscriber = Callable[[str, Callable[[], None]], Coroutine[Any, Any, None]]
"""Runs a subscriber of the service at a URL until cancelled; calls back when it is connected."""


class ComposedServices:
    """The three services with common parts."""

    def __init__(self, settings: StandaloneSettings, database: DatabaseOptions, port: int) -> None:
        shared = {
            "database": database,
            "bus": settings.bus,
            "alerts": settings.alerts,
            "logs": settings.logs,
            "telemetry": settings.telemetry,
            "reload": settings.reload,
        }
        listen = settings.experience.listen.model_copy(update={"port": port, "shutdown_timeout": _DRAIN})
        # One replica name, kept over restarts: nothing waits for the leases of the last run to expire.
        connections = settings.experience.connections.model_copy(update={"node": STANDALONE})
        experience = settings.experience.model_copy(
            update={"listen": listen, "drain_delay": 0.0, "drain_within": _DRAIN, "connections": connections}
        )
        process = settings.process.model_copy(update={"listen": _free_listener(settings.process), "node": STANDALONE})
        system = settings.system.model_copy(update={"listen": _free_listener(settings.system), "node": STANDALONE})
        self._experience = ExperienceSettings(**shared, experience=experience)
        self._process = ProcessSettings(**shared, process=process)
        self._system = SystemSettings(**shared, system=system)
        self._settings = settings
        self._database = database
        self.url = self.sources_url = self.process_url = ""
        """The addresses for subscribers, and for operators of sources and pipelines, while they run."""
        self._running: list[Running] = []
        self._health = Health(STANDALONE)

    @asynccontextmanager
    async def running(self, subscriber: RunSubscriber | None) -> AsyncIterator[Tasks]:
        """Run them, and the subscriber before the first event; yield the group for further tasks."""
        database, health = self._database, self._health
        async with AsyncExitStack() as stack:
            alerts = await stack.enter_async_context(
                alerting(self._settings.alerts, readiness=health.readiness, registry=health.registry)
            )
            await stack.enter_async_context(alert_on_outages(STANDALONE, health.readiness, alerts, SYSTEM_CLOCK))
            engine = create_engine(database)
            stack.push_async_callback(engine.dispose)
            leases = await stack.enter_async_context(PostgresLeaseStore.opened(database))
            bus = await stack.enter_async_context(connect(self._settings.bus, database))
            await bus.ensure_topics(self._settings.bus.topics.all())
            identity = Identity(STANDALONE, STANDALONE)
            tracing = await stack.enter_async_context(traced(self._settings, identity, health, SYSTEM_CLOCK))
            given: Given = {"bus": bus, "alerts": alerts, "health": health, "tracing": tracing}
            serving = build_experience_api(self._experience, engine=engine, leases=leases, **given)
            experience = await stack.enter_async_context(serving)
            process = await stack.enter_async_context(build_process_api(self._process, **given))
            tasks = await stack.enter_async_context(Tasks())
            for name, service in (("experience", experience), ("process", process)):
                tasks.keep(f"the {name} layer", raise_failure(service))
            self.url, self.process_url = experience.listening.url, process.listening.url
            await tasks.meanwhile(_subscribed(self.url, subscriber, health, tasks))
            operations = await stack.enter_async_context(PostgresSourceStore.opened(database))
            system = await stack.enter_async_context(
                build_system_api(self._system, leases=leases, operations=operations, **given)
            )
            self.sources_url = system.listening.url
            tasks.keep("the system layer", raise_failure(system))
            self._running = [experience, process, system]
            yield tasks

    @property
    def sections(self) -> list[Section]:
        """The sections of the settings file that can change while they run."""
        return [section for service in self._running for section in service.sections]

    def show_settings(self, file: SettingsFile[Any]) -> None:
        """Show in `/readyz` and in metrics whether the settings file is in use."""
        show_settings_file(file, self._health)

    async def reload(self) -> list[str]:
        """Load again what else can change while they run; return what was loaded."""
        return [name for service in self._running for name in await service.reload()]


async def _subscribed(url: str, subscriber: RunSubscriber | None, health: Health, tasks: Tasks) -> None:
    """Wait until events can be delivered, start the subscriber, and return when it is connected."""
    while not health.readiness.ready:
        await SYSTEM_CLOCK.sleep(_CHECK_INTERVAL)
    if subscriber is None:
        return
    connected = asyncio.Event()
    tasks.keep("demo subscriber", subscriber(url, connected.set))
    await connected.wait()


def _free_listener(options: SystemOptions | ProcessOptions) -> ListenOptions:
    """Return the listener of a service that needs no known address: any free port, unless the settings name one."""
    if "listen" in options.model_fields_set:
        return options.listen
    return options.listen.model_copy(update={"port": 0, "shutdown_timeout": _DRAIN})


async def raise_failure(running: Failing) -> None:
    """Wait for a failure and raise it."""
    raise await running.failed()
