"""The composition root: every outside part can be replaced by an argument, and the whole runs in one event loop."""

import random
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from services.system_api.build import build_source
from services.system_api.life import Surroundings
from services.system_api.metrics import SystemMetrics
from services.system_api.poller import Poller
from services.system_api.reporting import Reporter
from services.system_api.routes import add_routes, trouble
from services.system_api.settings import SystemSettings
from shared.alerts import Alerts, alerting
from shared.bus.connect import connect
from shared.bus.protocol import Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.database.migrations import migrate
from shared.errors import Unavailable
from shared.health import NotYet
from shared.lease import Leases, LeaseStore, PostgresLeaseStore
from shared.outages import outages_told
from shared.tasks import Tasks
from shared.web import Health, Listening, application, serve

DATABASE, BUS = "database of the leases", "bus"
"""The parts in `/readyz`; each source is told of beside them, and keeps nobody from being ready."""

_PAUSE = 1.0
"""Seconds between two tries to reach the database or the bus at the start."""


@dataclass(frozen=True, slots=True)
class SystemApi:
    """The service, while it runs."""

    listening: Listening
    tasks: Tasks

    async def failed(self) -> BaseException:
        """Wait until something has failed that the service cannot go on without, and return it."""
        return await self.tasks.failed()

    async def reload(self) -> list[str]:
        """Load again what can change while it runs; return what was loaded."""
        return await self.listening.reload()


@asynccontextmanager
async def build_system_api(
    settings: SystemSettings,
    *,
    bus: Bus | None = None,
    leases: LeaseStore | None = None,
    alerts: Alerts | None = None,
    health: Health | None = None,
    clock: Clock = SYSTEM_CLOCK,
    dice: random.Random | None = None,
) -> AsyncIterator[SystemApi]:
    """Run the service for as long as the context lasts.

    What is not given is made from the settings, and need not be reachable yet. Where leases are given, the database's
    tables are not migrated here. A bus that is given has the topics of the settings. Services in one process share
    `health`; who makes it tells of outages.

    Raises:
        SettingsError: the listener or the alerts cannot be set up as the settings say.
    """
    own_health, health = health is None, health or Health()
    given = leases is not None
    async with AsyncExitStack() as stack:
        if leases is None:
            leases = await stack.enter_async_context(PostgresLeaseStore.opened(settings.database))
        if alerts is None:
            opened = alerting(settings.alerts, readiness=health.readiness, registry=health.registry, clock=clock)
            alerts = await stack.enter_async_context(opened)
        if own_health:
            await stack.enter_async_context(outages_told("system", health.readiness, alerts, clock))
        outside = _Outside(
            leases,
            alerts,
            connect=lambda: connect(settings.bus, settings.database, clock=clock) if bus is None else nullcontext(bus),
            prepare=_nothing if given else lambda: migrate(settings.database),
            clock=clock,
            dice=dice or random.SystemRandom(),
        )
        yield await stack.enter_async_context(_Service(settings, outside, health).running())


@dataclass(frozen=True, slots=True)
class _Outside:
    """What the service has of others."""

    leases: LeaseStore
    alerts: Alerts
    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    """Connects to the bus."""
    prepare: Callable[[], Awaitable[object]]
    """Makes the database's tables what they should be."""
    clock: Clock
    dice: random.Random


class _Service:
    """The parts, and how they hang together."""

    def __init__(self, settings: SystemSettings, outside: _Outside, health: Health) -> None:
        self._options = settings.system
        self._topics = settings.bus.topics
        self._outside = outside
        self._health = health
        self._bus: Bus | None = None
        self._no_bus: str = NotYet("the database comes first")
        metrics = SystemMetrics(health.registry, settings.system.sources)
        self._reporters = {
            name: Reporter(name, outside.alerts, metrics, outside.clock) for name in settings.system.sources
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SystemApi]:
        """Open everything; on leaving, stop reading, finish what is being committed, and close in reverse."""
        options, outside, readiness = self._options, self._outside, self._health.readiness
        self._declare()
        app = application(options.listen, self._health)
        add_routes(app, {name: reporter.condition for name, reporter in self._reporters.items()}, outside.clock)
        async with Tasks() as tasks:
            listening = serve(app, options.listen, self._health, clock=outside.clock)
            async with listening as where:
                tasks.keep("sources", self._keep_sources())
                try:
                    yield SystemApi(where, tasks)
                finally:
                    # Health and metrics answer until the sources have stopped.
                    readiness.draining = True
                    await tasks.cancel_all()

    def _declare(self) -> None:
        readiness = self._health.readiness
        readiness.require(DATABASE)
        readiness.require(BUS, lambda: self._bus.trouble if self._bus else self._no_bus)
        for name, reporter in self._reporters.items():
            readiness.note(f"source {name}", partial(trouble, reporter.condition))

    async def _keep_sources(self) -> None:
        """Wait for the database and the bus, and drive the sources from then on.

        Raises:
            SettingsError: a topic is not of the form that the settings say.
        """
        await self._database()
        while True:
            try:
                async with self._outside.connect() as bus:
                    await bus.ensure_topics(self._topics.all())
                    self._bus = bus
                    await self._drive(bus)
            except Unavailable as exc:
                self._no_bus = str(exc)
                await self._outside.clock.sleep(_PAUSE)
            finally:
                self._bus = None

    async def _database(self) -> None:
        while True:
            try:
                await self._outside.prepare()
            except Unavailable as exc:
                self._health.readiness.report(DATABASE, str(exc))
                await self._outside.clock.sleep(_PAUSE)
            else:
                self._health.readiness.report(DATABASE, None)
                return

    async def _drive(self, bus: Bus) -> None:
        """Run a poller for each source; only a fault of ours ends that."""
        outside, options = self._outside, self._options
        leases = Leases(outside.leases, options.node or _own_name(), ttl=options.lease_seconds, clock=outside.clock)
        around = Surroundings(bus, self._topics, outside.clock, outside.dice)
        async with Tasks() as polling:
            for name, source in options.sources.items():
                opening = build_source(name, source, outside.clock, outside.dice)
                poller = Poller(source, opening, leases, around, self._reporters[name])
                polling.keep(f"poller of source {name}", poller.run())
            raise await polling.failed()


def _own_name() -> str:
    """Make a name that no other replica has: of the host, and of this life of the process."""
    return f"{socket.gethostname()[:64]}-{secrets.token_hex(4)}"


async def _nothing() -> None:
    """Prepare what is ready."""
