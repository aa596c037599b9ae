"""The composition root: every outside part can be replaced by an argument, and the whole runs in one event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Unpack

from aiohttp import web

from services.system_api.routes import add_routes, problem
from services.system_api.settings import SystemSettings
from services.system_api.sources.registry import build_source
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext
from shared.bus.protocol import Bus
from shared.composition.parts import Given, Parts, opened_parts
from shared.composition.serving import RunningService, serving
from shared.database.migrations import migrate
from shared.http.server import application
from shared.lease import Leases, LeaseStore, PostgresLeaseStore
from shared.runtime.retry import when_available
from shared.runtime.tasks import Tasks

LEASE_STORE, BUS = "lease_store", "bus"
"""The required parts in `/readyz`. Each source is a note beside them: one that is down does not make the service
unready."""


@asynccontextmanager
async def build_system_api(
    settings: SystemSettings, *, leases: LeaseStore | None = None, **given: Unpack[Given]
) -> AsyncIterator[RunningService]:
    """Run the service for as long as the context lasts.

    What is not given is made from the settings, and need not be reachable yet. Where leases are given, the database's
    tables are not migrated here.

    Raises:
        SettingsError: the listener or the alerts cannot be set up as the settings say.
    """
    opened = PostgresLeaseStore.opened(settings.database) if leases is None else nullcontext(leases)
    async with opened_parts("system_api", settings, **given) as parts, opened as store, Tasks() as tasks:
        service = _Service(settings, parts, store, migrates=leases is None)
        app = application(settings.system.listen, parts.health)
        service.add_routes(app)
        async with serving(app, settings.system.listen, parts, tasks, tasks.cancel_all) as running:
            tasks.keep("sources", service.keep_sources())
            yield running


class _Service:
    """The sources, and what each of them reports to."""

    def __init__(self, settings: SystemSettings, parts: Parts, leases: LeaseStore, *, migrates: bool) -> None:
        self._settings = settings
        self._options = settings.system
        self._parts = parts
        self._leases = leases
        self._migrates = migrates
        metrics = SystemMetrics(parts.health.registry, self._options.sources)
        self._reporters = {name: Reporter(name, parts.alerts, metrics, parts.clock) for name in self._options.sources}
        self._declare()

    def _declare(self) -> None:
        readiness = self._parts.health.readiness
        self._parts.bus.wait_for(LEASE_STORE)
        readiness.require(LEASE_STORE)
        readiness.require(BUS, lambda: self._parts.bus.problem)
        for name, reporter in self._reporters.items():
            readiness.note(f"source/{name}", partial(problem, reporter.status))

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints that show the sources."""
        add_routes(app, {name: each.status for name, each in self._reporters.items()}, self._parts.clock)

    async def keep_sources(self) -> None:
        """Wait for the database and the bus, then run the sources.

        Raises:
            SettingsError: an existing topic contradicts the settings.
        """
        report = self._parts.report(LEASE_STORE)
        if self._migrates:
            await when_available(partial(migrate, self._settings.database), report, self._parts.clock)
        else:
            report(None)
        await self._parts.bus.keep(self._poll_sources)

    async def _poll_sources(self, bus: Bus) -> None:
        """Run a poller for each source, until a programming error ends one."""
        parts, options = self._parts, self._options
        leases = Leases(self._leases, parts.node, ttl=options.lease_seconds, clock=parts.clock)
        context = SourceContext(bus, self._settings.bus.topics, parts.clock, parts.rng)
        async with Tasks() as polling:
            for name, source in options.sources.items():
                open_source = build_source(name, source, parts.clock, parts.rng)
                poller = Poller(source, open_source, leases, context, self._reporters[name])
                polling.keep(f"poller of source {name}", poller.run())
            raise await polling.failed()
