"""The composition root: each external dependency can be passed as an argument; all of it runs in one event loop."""

import random
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from services.system_api.routes import add_routes, problem
from services.system_api.settings import SystemSettings
from services.system_api.sources.registry import build_source
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext
from shared.alerts import Alerts, alerting
from shared.alerts.outages import outages_told
from shared.bus.connect import connect
from shared.bus.protocol import Bus
from shared.database.migrations import migrate
from shared.errors import Unavailable
from shared.http.health import NotYet
from shared.http.server import Health, Listening, application, serve
from shared.lease import Leases, LeaseStore, PostgresLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

DATABASE, BUS = "lease_store", "bus"
"""The parts that `/readyz` requires. Each source is a note (`source/<name>`) and does not affect readiness."""

_PAUSE = 1.0
"""Seconds between attempts to connect to the database or the bus at the start."""


@dataclass(frozen=True, slots=True)
class SystemApi:
    """The running service."""

    listening: Listening
    tasks: Tasks

    async def failed(self) -> BaseException:
        """Wait for a failure that the service cannot survive, and return it."""
        return await self.tasks.failed()


@asynccontextmanager
async def build_system_api(
    settings: SystemSettings,
    *,
    bus: Bus | None = None,
    leases: LeaseStore | None = None,
    alerts: Alerts | None = None,
    health: Health | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random | None = None,
) -> AsyncIterator[SystemApi]:
    """Run the service while the context is open.

    A dependency that is not passed is created from the settings; it may be unavailable at the start. With `leases`
    passed, the caller migrates the database's tables. A `bus` that is passed uses the topics of the settings. Services
    in one process share `health`; the caller that creates it reports outages.

    Raises:
        SettingsError: the listener or the alerts cannot be set up with these settings.
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
        dependencies = _Dependencies(
            leases,
            alerts,
            connect=lambda: connect(settings.bus, settings.database, clock=clock) if bus is None else nullcontext(bus),
            prepare=_do_nothing if given else lambda: migrate(settings.database),
            clock=clock,
            rng=rng or random.SystemRandom(),
        )
        yield await stack.enter_async_context(_Service(settings, dependencies, health).running())


@dataclass(frozen=True, slots=True)
class _Dependencies:
    """The external dependencies of the service."""

    leases: LeaseStore
    alerts: Alerts
    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    prepare: Callable[[], Awaitable[object]]
    """Migrates the database's tables."""
    clock: Clock
    rng: random.Random


class _Service:
    """The parts and how they are connected."""

    def __init__(self, settings: SystemSettings, dependencies: _Dependencies, health: Health) -> None:
        self._options = settings.system
        self._topics = settings.bus.topics
        self._dependencies = dependencies
        self._health = health
        self._bus: Bus | None = None
        self._no_bus: str = NotYet("waiting for the database")
        metrics = SystemMetrics(health.registry, settings.system.sources)
        self._reporters = {
            name: Reporter(name, dependencies.alerts, metrics, dependencies.clock) for name in settings.system.sources
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SystemApi]:
        """Open everything; on exit, stop reading, finish the commits in flight, and close in reverse order."""
        options, clock, readiness = self._options, self._dependencies.clock, self._health.readiness
        self._declare()
        app = application(options.listen, self._health)
        add_routes(app, {name: reporter.status for name, reporter in self._reporters.items()}, clock)
        async with Tasks() as tasks:
            listening = serve(app, options.listen, self._health, clock=clock)
            async with listening as address:
                tasks.keep("sources", self._run_sources())
                try:
                    yield SystemApi(address, tasks)
                finally:
                    # Health and metrics answer until the sources have stopped.
                    readiness.draining = True
                    await tasks.cancel_all()

    def _declare(self) -> None:
        readiness = self._health.readiness
        readiness.require(DATABASE)
        readiness.require(BUS, lambda: self._bus.problem if self._bus else self._no_bus)
        for name, reporter in self._reporters.items():
            readiness.note(f"source/{name}", partial(problem, reporter.status))

    async def _run_sources(self) -> None:
        """Connect to the database and the bus, then run the sources; connect to the bus again after an outage.

        Raises:
            SettingsError: a topic exists with other settings than these.
        """
        await self._prepare_database()
        while True:
            try:
                async with self._dependencies.connect() as bus:
                    await bus.ensure_topics(self._topics.all())
                    self._bus = bus
                    await self._poll_sources(bus)
            except Unavailable as exc:
                self._no_bus = str(exc)
                await self._dependencies.clock.sleep(_PAUSE)
            finally:
                self._bus = None

    async def _prepare_database(self) -> None:
        while True:
            try:
                await self._dependencies.prepare()
            except Unavailable as exc:
                self._health.readiness.report(DATABASE, str(exc))
                await self._dependencies.clock.sleep(_PAUSE)
            else:
                self._health.readiness.report(DATABASE, None)
                return

    async def _poll_sources(self, bus: Bus) -> None:
        """Run one poller for each source. A poller handles every failure of its source: if one ends, it is a bug."""
        given, options = self._dependencies, self._options
        leases = Leases(given.leases, options.node or _unique_name(), ttl=options.lease_seconds, clock=given.clock)
        context = SourceContext(bus, self._topics, given.clock, given.rng)
        async with Tasks() as polling:
            for name, source in options.sources.items():
                open_source = build_source(name, source, given.clock, given.rng)
                poller = Poller(source, open_source, leases, context, self._reporters[name])
                polling.keep(f"poller of source {name}", poller.run())
            raise await polling.failed()


def _unique_name() -> str:
    """Return a name that no other replica has: the host's, and a random suffix for this start of the process."""
    return f"{socket.gethostname()[:64]}-{secrets.token_hex(4)}"


async def _do_nothing() -> None:
    """Leave tables alone that the caller has migrated."""
