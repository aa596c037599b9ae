"""The composition root: every outside part can be replaced by an argument, and the whole runs in one event loop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Unpack

from aiohttp import web

from services.system_api.api.documents import add_documents
from services.system_api.delivery.direct import DirectBus, connected_directly
from services.system_api.delivery.folder_bus import FolderBus
from services.system_api.delivery.options import DeliverOptions
from services.system_api.delivery.sender import Sender
from services.system_api.inquiries import Inquiries
from services.system_api.operations.controls import Controls
from services.system_api.operations.folder import FolderSourceStore
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.postgres import PostgresSourceStore
from services.system_api.operations.store import SourceStore
from services.system_api.overview import Overview
from services.system_api.replicas.membership import Replicas
from services.system_api.routes import SourceRoutes
from services.system_api.settings import SystemSettings
from services.system_api.sources.http.webhook.inbox.postgres import PostgresInbox
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.supervisor.description import problem
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext
from services.system_api.supervisor.sharing import StatusPublisher
from services.system_api.webhooks import Webhooks, webhook_sources
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.composition.parts import Given, Parts, opened_parts
from shared.composition.serving import RunningService, serving
from shared.database.migrations import migrate
from shared.http.operators import Operators
from shared.http.server import application
from shared.lease import Leases, LeaseStore, MemoryLeaseStore, PostgresLeaseStore
from shared.runtime.retry import when_available
from shared.runtime.tasks import Tasks

LEASE_STORE, BUS = "lease_store", "bus"
"""The required parts in `/readyz`. Each source is a note beside them: one that is down does not make the service
unready."""


@asynccontextmanager
async def build_system_api(
    settings: SystemSettings,
    *,
    leases: LeaseStore | None = None,
    operations: SourceStore | None = None,
    inbox: Inbox | None = None,
    **given: Unpack[Given],
) -> AsyncIterator[RunningService]:
    """Run the service for as long as the context lasts.

    What is not given is made from the settings, and need not be reachable yet. Where leases are given, the database's
    tables are not migrated here, what operators ask is kept in memory unless a store for it is given too, and webhooks
    need an `inbox`.

    Raises:
        SettingsError: the listener or the alerts cannot be set up as the settings say.
    """
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(opened_parts("system_api", settings, **given))
        if (deliver := settings.system.deliver) is not None:
            parts = replace(parts, bus=parts.bus.through(partial(_delivering, deliver, settings.bus.topics, parts)))
            if deliver.state is not None:
                leases = leases or MemoryLeaseStore(parts.clock)
                operations = operations or await FolderSourceStore.opened(deliver.state, parts.clock)
        store = operations or MemorySourceStore(parts.clock)
        migrates = leases is None
        if leases is None:
            leases = await stack.enter_async_context(PostgresLeaseStore.opened(settings.database))
            if operations is None:
                store = await stack.enter_async_context(PostgresSourceStore.opened(settings.database))
            if inbox is None and webhook_sources(settings.system.sources):
                inbox = await stack.enter_async_context(PostgresInbox.opened(settings.database))
        tasks = await stack.enter_async_context(Tasks())
        service = _Service(settings, parts, leases, store, inbox, migrates=migrates)
        app = application(settings.system.listen, parts.health)
        parts.tracing.trace_requests(app)
        service.add_routes(app)
        async with serving(app, settings.system.listen, parts, tasks, tasks.cancel_all) as running:
            tasks.keep("sources", service.keep_sources())
            yield running


def _delivering(
    options: DeliverOptions,
    topics: TopicsOptions,
    parts: Parts,
    connect: Callable[[], AbstractAsyncContextManager[Bus]],
) -> AbstractAsyncContextManager[Bus]:
    """Connect to a bus whose events are delivered directly; `connect` connects to the one of the settings."""
    kept = connect if options.state is None else partial(FolderBus.opened, options.state, topics)
    return connected_directly(kept, partial(Sender.opened, options, parts.clock, parts.rng), topics)


def _problem_of_replica(bus: Bus) -> str | None:
    """Return why this replica should leave its sources to others, for which the bus may work."""
    return bus.problem_of_replica if isinstance(bus, DirectBus) else bus.problem


class _Service:
    """The sources, and what each of them reports to."""

    def __init__(
        self,
        settings: SystemSettings,
        parts: Parts,
        leases: LeaseStore,
        store: SourceStore,
        inbox: Inbox | None,
        *,
        migrates: bool,
    ) -> None:
        self._settings = settings
        self._options = settings.system
        self._parts = parts
        self._leases = leases
        self._store = store
        self._controls = Controls(store, self._options.sources)
        delivers = self._options.deliver is not None
        self._inquiries = Inquiries(self._options.sources, settings.bus.topics, parts, inbox, delivers=delivers)
        self._webhooks = None if inbox is None else Webhooks(webhook_sources(self._options.sources), inbox, parts)
        self._migrates = migrates
        metrics = SystemMetrics(parts.health.registry, self._options.sources)
        for name, options in self._options.sources.items():
            metrics.of(name).interval.set(options.interval)
        self._reporters = {name: Reporter(name, parts.alerts, metrics, parts.clock) for name in self._options.sources}
        if store.lasting:
            for reporter in self._reporters.values():
                reporter.disclaim()
        self._declare()

    def _declare(self) -> None:
        readiness = self._parts.health.readiness
        self._parts.bus.wait_for(LEASE_STORE)
        readiness.require(LEASE_STORE)
        readiness.require(BUS, lambda: self._parts.bus.problem)
        for name, reporter in self._reporters.items():
            readiness.note(f"source/{name}", partial(problem, reporter.status))

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints."""
        parts = self._parts
        overview = Overview(self._reporters, self._controls, self._store, self._leases, parts.node, parts.clock)
        operators = Operators(self._options.operators, "system.operators", parts.clock)
        SourceRoutes(overview, self._controls, self._store, operators, self._inquiries, parts.clock).add_to(app)
        if self._webhooks is not None:
            self._webhooks.add_routes(app)
        add_documents(app)

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
        publisher = StatusPublisher(self._reporters.values(), self._store, self._parts.node, self._parts.clock)
        async with Tasks() as tasks:
            tasks.keep("source controls", self._controls.follow())
            tasks.keep("source statuses", publisher.run())
            if self._webhooks is not None:
                tasks.keep("webhook inboxes", self._webhooks.run())
            await tasks.meanwhile(self._parts.bus.keep(self._poll_sources))

    async def _poll_sources(self, bus: Bus) -> None:
        """Run a poller for each source, until a programming error ends one."""
        parts, options = self._parts, self._options
        leases = Leases(self._leases, parts.node, ttl=options.lease_seconds, clock=parts.clock)
        marked = None if options.deliver is not None else options.watermark_interval
        context = SourceContext(bus, self._settings.bus.topics, parts.clock, parts.rng, parts.tracing, marked)
        problem_of_bus = partial(_problem_of_replica, bus)
        replicas = Replicas(parts.node, options.sources, self._leases, leases, problem_of_bus, parts.clock)
        async with Tasks() as polling:
            polling.keep("replicas", replicas.run())
            for name, source in options.sources.items():
                reporter, control, turn = self._reporters[name], self._controls.of(name), replicas.turn(name)
                poller = Poller(source, self._inquiries.opener(name), leases, context, reporter, control, turn)
                polling.keep(f"poller of source {name}", poller.run())
            raise await polling.failed()
