"""The composition root. External dependencies can be replaced by arguments; the service runs in one event loop."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.experience_api.auth.admission import Admission
from services.experience_api.auth.clients import Verifier
from services.experience_api.auth.consumers import Registration
from services.experience_api.auth.origin import Networks
from services.experience_api.http.push import Pushes
from services.experience_api.http.routes import Routes
from services.experience_api.metrics import DeliveryCollector, ExperienceMetrics
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Registry
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.dependencies import Stream, StreamParts, load_tokens, run_stream
from services.experience_api.sessions.handshake import Handshake
from services.experience_api.sessions.inbound import Inbound
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.sessions.node import NodeLease, generated_name
from services.experience_api.settings import ExperienceSettings
from services.experience_api.stream.delivery import Delivery
from shared.alerts import Alerts, alerting
from shared.alerts.outages import outages_told
from shared.bus.connect import connect
from shared.bus.protocol import Appender, Bus
from shared.database.engine import create_engine
from shared.database.migrations import migrate
from shared.http.health import NotYet
from shared.http.server import Health, Listening, application, serve
from shared.lease import Leases, LeaseStore, PostgresLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

REGISTRY, LEASE, TOPIC, STREAM = "registry", "node_lease", "publish_topic", "stream"
NOTICES = "replica_notices"
"""The parts in `/readyz`."""


@dataclass(frozen=True, slots=True)
class ExperienceApi:
    """The running service."""

    listening: Listening
    tasks: Tasks

    async def failed(self) -> BaseException:
        """Wait until a part fails that the service cannot run without, and return the error."""
        return await self.tasks.failed()


@asynccontextmanager
async def build_experience_api(  # noqa: PLR0913 -- each outside part by its name
    settings: ExperienceSettings,
    *,
    bus: Bus | None = None,
    engine: AsyncEngine | None = None,
    registry: Registry | None = None,
    leases: LeaseStore | None = None,
    alerts: Alerts | None = None,
    health: Health | None = None,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random | None = None,
) -> AsyncIterator[ExperienceApi]:
    """Run the service while the context is open; leaving it drains.

    Dependencies that are not passed in are built from the settings, and need not be reachable yet. The tables of an
    engine or registry that is passed in are not migrated here. Services in one process share `health`; its creator
    alerts about outages.

    Raises:
        SettingsError: the listener or the alerts cannot be set up as the settings say.
    """
    own_health, health = health is None, health or Health()
    given = engine is not None or registry is not None
    async with AsyncExitStack() as stack:
        if registry is None:
            if engine is None:
                engine = create_engine(settings.database)
                stack.push_async_callback(engine.dispose)
            registry = made = PostgresRegistry(engine, settings.database, clock)
            stack.callback(made.close)
        if leases is None:
            leases = await stack.enter_async_context(PostgresLeaseStore.opened(settings.database))
        if alerts is None:
            opened = alerting(settings.alerts, readiness=health.readiness, registry=health.registry, clock=clock)
            alerts = await stack.enter_async_context(opened)
        if own_health:
            await stack.enter_async_context(outages_told("experience", health.readiness, alerts, clock))
        dependencies = _Dependencies(
            registry,
            leases,
            alerts,
            connect=lambda: connect(settings.bus, settings.database, clock=clock) if bus is None else nullcontext(bus),
            prepare=_nothing if given else lambda: migrate(settings.database),
            clock=clock,
            rng=rng or random.SystemRandom(),
        )
        yield await stack.enter_async_context(_Service(settings, dependencies, health).running())


@dataclass(frozen=True, slots=True)
class _Dependencies:
    """The external dependencies of the service."""

    registry: Registry
    leases: LeaseStore
    alerts: Alerts
    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    """Connects to the bus."""
    prepare: Callable[[], Awaitable[object]]
    """Migrates the tables of the database."""
    clock: Clock
    rng: random.Random


class _Service:
    """Composes the parts of the service."""

    def __init__(self, settings: ExperienceSettings, dependencies: _Dependencies, health: Health) -> None:
        self._options = settings.experience
        self._topics = settings.bus.topics
        self._dependencies = dependencies
        self._health = health
        self._metrics = ExperienceMetrics(health.registry)
        self._registration: LateBound[Registration] = LateBound("database")
        self._handshake: LateBound[Handshake] = LateBound("database")
        self._stream: LateBound[Stream] = LateBound("stream")
        self._handshake_admission = Admission(self._options.handshakes)
        self._registration_admission = Admission(self._options.registrations)
        clock, rng = dependencies.clock, dependencies.rng
        self._pushes = Pushes(self._topics.publish, self._options.entity, clock, rng, new_id=_new_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ExperienceApi]:
        """Open everything; on leaving, drain, and close everything in reverse."""
        options, dependencies = self._options, self._dependencies
        days = options.tokens.expires_after_days_disconnected
        self._declare()
        async with AsyncExitStack() as stack:
            verifying = Verifier.opened(dependencies.registry, options.secrets, clock=dependencies.clock)
            verifier = stack.enter_context(verifying)
            tasks = await stack.enter_async_context(Tasks())
            node = self._node()
            connections = Connections(dependencies.registry, node, tasks, options.connections, days)
            await stack.enter_async_context(connections.open())
            streaming = run_stream(self._stream_parts(), self._stream, self._report(TOPIC), dependencies.clock)
            tasks.keep("stream", streaming)
            tasks.keep("sessions", self._run_sessions(verifier, connections, node))
            listening = await stack.enter_async_context(self._listening())
            await stack.enter_async_context(self._drained())
            yield ExperienceApi(listening, tasks)

    def _declare(self) -> None:
        readiness = self._health.readiness
        for part in (REGISTRY, LEASE, TOPIC):
            readiness.require(part)
        waiting = NotYet("waiting for publish_topic")
        readiness.require(STREAM, lambda: self._delivery.problem if self._delivery else waiting)
        readiness.note(NOTICES, lambda: self._dependencies.registry.problem)
        self._health.registry.register(DeliveryCollector(lambda: self._delivery.counts if self._delivery else None))

    @property
    def _delivery(self) -> Delivery | None:
        return self._stream.value.delivery if self._stream.value else None

    def _report(self, part: str) -> Callable[[str | None], None]:
        return lambda problem: self._health.readiness.report(part, problem)

    def _node(self) -> NodeLease:
        options, dependencies = self._options.connections, self._dependencies
        name = options.node or generated_name()
        leases = Leases(dependencies.leases, name, ttl=options.lease_seconds, clock=dependencies.clock)
        return NodeLease(leases, name, dependencies.clock, self._report(LEASE))

    def _stream_parts(self) -> StreamParts:
        dependencies = self._dependencies

        def inbound(appender: Appender) -> Inbound:
            return Inbound(
                appender, self._topics.inbound, dependencies.alerts, self._metrics, dependencies.clock, _new_id
            )

        return StreamParts(dependencies.connect, self._topics, self._options.delivery, inbound, self._metrics.delayed)

    async def _run_sessions(self, verifier: Verifier, connections: Connections, node: NodeLease) -> None:
        registry, clock = self._dependencies.registry, self._dependencies.clock
        prepare, report = self._dependencies.prepare, self._report(REGISTRY)
        tokens = await load_tokens(self._options.tokens, registry, prepare, report, clock)
        self._registration.set(Registration(self._registration_admission, verifier, registry, tokens, clock))
        self._handshake.set(Handshake(self._handshake_admission, tokens, connections, clock))
        await node.run(connections.lose_all)

    def _listening(self) -> AbstractAsyncContextManager[Listening]:
        options = self._options
        app = application(options.listen, self._health)
        Routes(
            self._registration,
            self._handshake,
            self._stream,
            self._pushes,
            proxies=Networks(options.trusted_proxies),
            metrics=self._metrics,
            days=options.tokens.expires_after_days_disconnected,
        ).add_to(app)
        return serve(app, options.listen, self._health, clock=self._dependencies.clock)

    @asynccontextmanager
    async def _drained(self) -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            raise  # no time is left to drain
        except BaseException:
            await self._drain()
            raise
        else:
            await self._drain()

    async def _drain(self) -> None:
        """Shut down in order. What is not done in time is dropped by what is closed afterwards."""
        self._health.readiness.draining = True  # 1. load balancers stop sending requests here
        self._handshake_admission.close()  # 2. late requests are refused as draining
        self._registration_admission.close()
        self._pushes.close()
        if self._delivery is not None:  # 3. subscribers are closed in waves, each with its own time to wait
            await self._delivery.drain(self._options.drain_within)
        # 4. the listener closes, and with it the requests in progress
        # 5. accepted events are on the bus; the stream ends
        # 6. the replica's lease is released; the database is closed last, because 3 and 4 release claims


def _new_id() -> str:
    return str(uuid.uuid4())


async def _nothing() -> None:
    """Prepare nothing: the database is ready."""
