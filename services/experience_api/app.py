"""The composition root. External dependencies can be replaced by arguments; the service runs in one event loop."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Unpack

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from services.experience_api.admin.listening import AdminParts, admin_listening
from services.experience_api.api.documents import add_documents
from services.experience_api.auth.admission import Admission, Budgets
from services.experience_api.auth.consumers import Registration
from services.experience_api.auth.signing import Signing
from services.experience_api.auth.verifier import Verifier
from services.experience_api.http.pages import Pages
from services.experience_api.http.push import Pushes
from services.experience_api.http.routes import Routes
from services.experience_api.http.subscribers import SubscriberRoutes
from services.experience_api.latest.copying import Copier
from services.experience_api.latest.opening import Latest, opened
from services.experience_api.metrics import DeliveryCollector, ExperienceMetrics, LatestCollector
from services.experience_api.presence.publishing import Presence
from services.experience_api.producers.identity import Producers
from services.experience_api.producers.once.postgres import PostgresKeyStore
from services.experience_api.producers.once.store import KeyStore
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Registry
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.dependencies import Stream, load_tokens, run_stream
from services.experience_api.sessions.handshake import Handshake
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.sessions.node import NodeLease
from services.experience_api.sessions.requested import URL_BYTES
from services.experience_api.settings import ExperienceSettings
from services.experience_api.stream.delivery import Delivery
from services.experience_api.streaming import Streaming, new_id
from services.experience_api.wire.cursor import Vector
from shared.bus.protocol import Bus
from shared.composition.clocks import ClockComparison, ReferenceClock
from shared.composition.parts import Given, Parts, opened_parts
from shared.composition.serving import RunningService, serving
from shared.database.migrations import migrate
from shared.database.pool import ConnectionPool
from shared.http.health import NotYet
from shared.http.origin import Networks
from shared.http.server import REQUEST_LINE_BYTES, Listening, application
from shared.lease import Leases, LeaseStore, PostgresLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks, cancel_requested

_KEY_CONNECTIONS = 2

REGISTRY, LEASE, BUS, STREAM = "registry", "node_lease", "bus", "stream"
"""The required parts in `/readyz`."""
NOTICES = "replica_notices"
"""A note in `/readyz`: without notices from other replicas, this one looks into the database more often."""


@asynccontextmanager
async def build_experience_api(
    settings: ExperienceSettings,
    *,
    engine: AsyncEngine | None = None,
    registry: Registry | None = None,
    leases: LeaseStore | None = None,
    keys: KeyStore | None = None,
    **given: Unpack[Given],
) -> AsyncIterator[RunningService]:
    """Run the service for as long as the context lasts; leaving it drains.

    What is not given is made from the settings, and need not be reachable yet. An engine or a registry that is given
    is ready to use: its tables are not migrated here.

    Raises:
        SettingsError: the listener, the alerts or the folder of signing keys cannot be used as the settings say.
    """
    migrates = engine is None and registry is None
    machine = given.get("clock", SYSTEM_CLOCK)
    given["clock"] = clock = ReferenceClock(machine)
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(opened_parts("experience_api", settings, **given))
        if registry is None:
            opened = PostgresRegistry.opened(settings.database, parts.clock, engine)
            registry = await stack.enter_async_context(opened)
        if leases is None:
            leases = await stack.enter_async_context(PostgresLeaseStore.opened(settings.database))
        # How long a key is known is measured by one clock, whatever the time is.
        signing = await Signing.loaded(settings.experience.tokens, machine)
        if keys is None:
            pool = ConnectionPool.opened(settings.database, size=_KEY_CONNECTIONS, purpose="idempotency keys")
            keys = PostgresKeyStore(await stack.enter_async_context(pool))
        clocks = ClockComparison(clock, registry.time, parts.alerts, parts.health.registry, parts.node)
        service = _Service(settings, parts, registry, leases, signing, keys, clocks, migrates=migrates)
        yield await stack.enter_async_context(service.running())


class _Service:
    """Composes the parts of the service."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each opened apart
        self,
        settings: ExperienceSettings,
        parts: Parts,
        registry: Registry,
        leases: LeaseStore,
        signing: Signing,
        keys: KeyStore,
        clocks: ClockComparison,
        *,
        migrates: bool,
    ) -> None:
        self._settings = settings
        self._options = options = settings.experience
        self._topics = settings.bus.topics
        self._parts = parts
        self._registry = registry
        self._leases = leases
        self._keys = keys
        self._clocks = clocks
        self._migrates = migrates
        self._signing = signing
        self._metrics = ExperienceMetrics(parts.health.registry)
        self._registration: LateBound[Registration] = LateBound("database")
        self._handshake: LateBound[Handshake] = LateBound("database")
        self._stream: LateBound[Stream] = LateBound("stream")
        self._handshake_admission = Admission(options.handshakes)
        self._registration_admission = Admission(options.registrations)
        self._pushes = Pushes(
            self._topics.publish,
            options.entity,
            Producers(options.entity.producers, Networks(options.entity.allow), Budgets.of(options.registrations)),
            parts.clock,
            parts.rng,
            new_id=new_id,
            event_limit=self._topics.event_limit,
            tracing=parts.tracing,
        )
        self._declare()

    def _declare(self) -> None:
        readiness = self._parts.health.readiness
        readiness.require(REGISTRY)
        readiness.require(LEASE)
        # While the bus is away, subscribers are kept and admitted: see docs/observability.md.
        readiness.require(BUS, lambda: self._parts.bus.problem, at_start=True)
        readiness.require(STREAM, self._stream_problem, at_start=True)
        readiness.note(NOTICES, lambda: self._registry.problem)
        self._parts.health.registry.register(
            DeliveryCollector(lambda: self._delivery.counts if self._delivery else None)
        )

    def _stream_problem(self) -> str | None:
        return self._delivery.problem if self._delivery else NotYet(f"waiting for {BUS}")

    @property
    def _delivery(self) -> Delivery | None:
        return self._stream.value.delivery if self._stream.value else None

    def _head(self) -> Vector:
        return self._delivery.head if self._delivery else ()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RunningService]:
        """Open everything; on leaving, drain, and close everything in reverse."""
        options, parts = self._options, self._parts
        days = options.tokens.expires_after_days_disconnected
        app = application(options.listen, parts.health, reasons=False)
        app[REQUEST_LINE_BYTES] = URL_BYTES
        parts.tracing.trace_requests(app)
        self._add_routes(app)
        async with AsyncExitStack() as stack:
            verifier = stack.enter_context(Verifier.opened(self._registry, options.secrets, clock=parts.clock))
            tasks = await stack.enter_async_context(Tasks())
            latest = await stack.enter_async_context(opened(options.latest, self._settings.database))
            if latest is not None:
                self._parts.health.registry.register(LatestCollector(latest.counts, self._head))
            node = self._node()
            connections = Connections(
                self._registry,
                node,
                tasks,
                options.connections,
                days,
                announce=self._announce,
                clock=parts.clock,
                rng=parts.rng,
            )
            await stack.enter_async_context(connections.open())
            tasks.keep("stream", parts.bus.keep(lambda bus: self._run_stream(bus, connections, node, latest)))
            tasks.keep("compare clocks", self._clocks.run())
            tasks.keep("sessions", self._run_sessions(verifier, connections, node))
            if options.presence.enabled:
                publishing = Presence(
                    self._own_leases(),
                    lambda: self._stream.get().once,
                    self._registry.release_dead,
                    options.presence,
                    parts.clock,
                    options.connections.lease_seconds,
                )
                tasks.keep("presence", publishing.run_on(self._settings.database, self._registration.wait))
            _ = tasks.start("follow signing keys", self._signing.follow())
            # Closed after the other listener: operators see the drain.
            admin = await stack.enter_async_context(self._admin_listening(connections))
            running = await stack.enter_async_context(serving(app, options.listen, parts, tasks, self._drain))
            reloads = (self._signing.reload, *(() if admin is None else (admin.reload,)))
            yield replace(running, sections=(self._signing.section,), reloads=reloads, admin=admin)

    def _admin_listening(self, connections: Connections) -> AbstractAsyncContextManager[Listening | None]:
        parts = self._parts
        admin_parts = AdminParts(
            self._registry, connections, self._stream, self._pushes, parts.health, parts.clock, self._topics, parts.bus
        )
        return admin_listening(self._options.admin, admin_parts)

    def _add_routes(self, app: web.Application) -> None:
        options = self._options
        proxies, pages = Networks(options.trusted_proxies), Pages(options.origins)
        clock, rng, metrics = self._parts.clock, self._parts.rng, self._metrics
        Routes(
            self._registration,
            self._stream,
            self._pushes,
            proxies=proxies,
            metrics=metrics,
            days=options.tokens.expires_after_days_disconnected,
            clock=clock,
            rng=rng,
        ).add_to(app)
        SubscriberRoutes(
            self._handshake, self._stream, pages, proxies=proxies, metrics=metrics, clock=clock, rng=rng
        ).add_to(app)
        add_documents(app, self._topics)
        app.on_response_prepare.append(pages.add_headers)

    def _own_leases(self) -> Leases:
        parts, seconds = self._parts, self._options.connections.lease_seconds
        return Leases(self._leases, parts.node, ttl=seconds, clock=parts.clock)

    def _copier(self, latest: Latest) -> Copier:
        clock, topic, migrated = self._parts.clock, self._topics.publish, self._registration.wait
        leases = self._own_leases()
        return Copier(latest.store, leases, latest.options, clock, latest.counts, topic, migrated=migrated)

    def _node(self) -> NodeLease:
        return NodeLease(self._own_leases(), self._parts.node, self._parts.clock, self._parts.report(LEASE))

    async def _announce(self, connection_id: uuid.UUID) -> None:
        await self._stream.get().takeovers.announce(connection_id)

    async def _run_stream(self, bus: Bus, connections: Connections, node: NodeLease, latest: Latest | None) -> None:
        options, parts = self._options, self._parts
        streaming = Streaming(
            self._topics,
            options.delivery,
            options.entity.once,
            options.audit,
            self._keys,
            self._metrics,
            parts,
            latest,
            None if latest is None else self._copier(latest),
        )
        await run_stream(streaming.stream_parts(connections, node), bus, self._stream, parts.clock)

    async def _run_sessions(self, verifier: Verifier, connections: Connections, node: NodeLease) -> None:
        clock = self._parts.clock
        report = self._parts.report(REGISTRY)
        tokens = await load_tokens(self._signing, self._registry, self._prepare, report, clock)
        _ = await self._clocks.compare()  # before the first connection, which may ask for a part of the history
        overlap = self._options.tokens.registration_overlap
        self._registration.set(
            Registration(self._registration_admission, verifier, self._registry, tokens, self._signing.clock, overlap)
        )
        self._handshake.set(Handshake(self._handshake_admission, tokens, self._registry, connections, clock))
        await node.run(connections.lose_all, connections.reconcile_soon)

    async def _prepare(self) -> None:
        if self._migrates:
            await migrate(self._settings.database)

    async def _drain(self) -> None:
        """Leave in order. What is not done in time is dropped when what follows is closed."""
        # 1. load balancers notice that `/readyz` answers 503; until then, what they send here is served as before
        if not cancel_requested():  # by a second signal
            await self._parts.clock.sleep(self._options.drain_delay)
        # 2. late requests are told to connect again
        self._handshake_admission.close()
        self._registration_admission.close()
        self._pushes.close()
        # 3. subscribers are disconnected in waves, each with a time to come back; not if the process has no time left
        if self._delivery is not None and not cancel_requested():
            await self._delivery.drain(self._options.drain_within)
        # 4. the listener closes, and with it the requests that are in progress
        # 5. what was accepted is on the bus, and the stream ends
        # 6. the replica's lease is released; the database goes last, because 3 and 4 release claims
